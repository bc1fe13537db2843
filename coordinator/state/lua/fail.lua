-- Record that a step failed for good, and fail its job, once.
-- KEYS: 1 m (hash), 2 r (hash), 3 a (hash), 4 x (hash), 5 e (stream), 6 p (string), 7 f (hash),
--       8 g (hash), 9 b (hash), 10 leases (zset), 11 active (zset), 12 timers (zset), 13 alerts (stream)
-- ARGV: 1 job, 2 step, 3 attempt, or '' with 4, 4 owner: fails the live attempt of that worker, 5 error (JSON),
--       6 message, 7 alert's kind, 8 retention (s), 9 channel
-- Returns: 'failed' (the job failed now) | 'noted' (it had ended before) | 'already' | 'fenced' | 'gone'
-- Invariant: one alert a job's failure; a recorded step can't fail.
local job, step = ARGV[1], ARGV[2]
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'gone' end
if redis.call('HEXISTS', KEYS[2], step) == 1 then return 'already' end
local a = read_attempt(KEYS[3], step)
if ARGV[3] ~= '' then
  if not a or a.attempt ~= tonumber(ARGV[3]) then return 'fenced' end
  if a.live == 0 and redis.call('HEXISTS', KEYS[4], step) == 1 then return 'already' end
elseif not a or a.live ~= 1 or string.sub(a.token, 1, #ARGV[4]) ~= ARGV[4] then
  return 'already'
end
a.live = 0
write_attempt(KEYS[3], step, a)
redis.call('ZREM', KEYS[10], job .. '|' .. step)
redis.call('HSET', KEYS[4], step, ARGV[5])
note(KEYS[5], 'step-failed', step, ARGV[6])
if state ~= 'received' and state ~= 'processing' and state ~= 'paused' then return 'noted' end
redis.call('HSET', KEYS[1], 'error', ARGV[5])
redis.call('ZREM', KEYS[12], job .. '|!deadline')
note(KEYS[5], 'failed', step, ARGV[6])
alert(KEYS[13], job, ARGV[7], 'error', ARGV[6])
end_job(KEYS[1], KEYS[11], job, 'failed', now_ms(), ARGV[8], ARGV[9],
  {KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]})
return 'failed'
