-- Note that a job stands still, once, with an alert.
-- KEYS: 1 e (stream), 2 active (zset), 3 stalled (zset), 4 alerts (stream)
-- ARGV: 1 job, 2 since when nothing may have happened (ms), 3 message
-- Returns: 'stalled' | 'already' | 'moving'
-- Invariant: one alert a standstill, which ends when the job's time of progress is another.
local progress = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not progress or tonumber(progress) > tonumber(ARGV[2]) then return 'moving' end
if redis.call('ZADD', KEYS[3], 'NX', progress, ARGV[1]) == 0 then return 'already' end
note(KEYS[1], 'stalled', '', ARGV[3])
alert(KEYS[4], ARGV[1], 'stalled', 'warning', ARGV[3])
return 'stalled'
