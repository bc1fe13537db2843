-- Note that a job that stood still goes on, once, with an alert; or that it was ended.
-- KEYS: 1 m (hash), 2 e (stream), 3 active (zset), 4 stalled (zset), 5 alerts (stream)
-- ARGV: 1 job
-- Returns: 'recovered' | 'ended' | 'stalled'
local stood = redis.call('ZSCORE', KEYS[4], ARGV[1])
local progress = redis.call('ZSCORE', KEYS[3], ARGV[1])
if not stood then return 'ended' end
if progress and progress == stood then return 'stalled' end
redis.call('ZREM', KEYS[4], ARGV[1])
local state = redis.call('HGET', KEYS[1], 'state')
if not progress and state ~= 'succeeded' then return 'ended' end
note(KEYS[2], 'recovered', '', '')
alert(KEYS[5], ARGV[1], 'recovered', 'info', 'the job goes on')
return 'recovered'
