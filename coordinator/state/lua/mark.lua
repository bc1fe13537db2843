-- Mark this Redis as known, and say so if it has come back without its memory.
-- KEYS: 1 instance (hash), 2 alerts (stream)
-- ARGV: 1 the id that the caller saw here before ('' for none), 2 an id for a Redis that has none, 3 message
-- Returns: {id of this Redis, 'known' | 'marked' | 'empty'}
-- Invariant: of all callers that saw the old id, one alerts.
local id = redis.call('HGET', KEYS[1], 'id')
if id then return {id, 'known'} end
redis.call('HSET', KEYS[1], 'id', ARGV[2], 'marked', now_ms())
if ARGV[1] == '' then return {ARGV[2], 'marked'} end
redis.call('HSET', KEYS[1], 'came_back_empty', now_ms())
alert(KEYS[2], '', 'redis-empty', 'error', ARGV[3])
return {ARGV[2], 'empty'}
