-- Store pages of a list, for the stream that an attempt is about to open. They go with their job.
-- KEYS: 1 m (hash), 2 v (hash)
-- ARGV: 1… names and pages
-- Returns: 'kept' | 'gone'
if redis.call('EXISTS', KEYS[1]) == 0 then return 'gone' end
redis.call('HSET', KEYS[2], unpack(ARGV))
age(KEYS[1], {KEYS[2]})
return 'kept'
