-- Write the verdicts of a job's checks as flags and decide: processing or rejected.
-- KEYS: 1 m (hash), 2 r (hash), 3 a (hash), 4 f (hash), 5 e (stream), 6 p (string), 7 leases (zset),
--       8 outbox (zset), 9 active (zset), 10 timers (zset), 11 alerts (stream), then the job's other keys
-- ARGV: 1 job, 2 step, 3 attempt (the fence), 4 record (JSON), 5 trigger of the work,
--       6 flags (JSON: check -> flag without its time), 7 reasons joined ('' when all are valid),
--       8 retention (s), 9 channel
-- Returns: {'recorded' | 'already', trigger…} | {'stopped', state} | {'fenced', attempt} |
--          {'gone'}
-- Invariant: work is sent only after every flag is valid and the receipt is written, in this script.
local job, step = ARGV[1], ARGV[2]
local now = now_ms()
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {'gone'} end
if redis.call('HEXISTS', KEYS[2], step) == 1 then
  if redis.call('ZSCORE', KEYS[8], job .. '|' .. ARGV[5]) then return {'already', ARGV[5]} end
  return {'already'}
end
local a = read_attempt(KEYS[3], step)
if not a or a.live ~= 1 or a.attempt ~= tonumber(ARGV[3]) then
  return {'fenced', a and tostring(a.attempt) or 'none'}
end
redis.call('ZREM', KEYS[7], job .. '|' .. step)
if state ~= 'received' then
  -- Cancelled meanwhile: left unrecorded, so that a retry of the job judges again.
  a.live = 0
  write_attempt(KEYS[3], step, a)
  return {'stopped', state}
end
redis.call('HSET', KEYS[2], step, ARGV[4])
redis.call('HDEL', KEYS[3], step)
local params_hash = redis.call('HGET', KEYS[1], 'params_hash')
for check, flag in pairs(cjson.decode(ARGV[6])) do
  flag['at_ms'] = now
  redis.call('HSET', KEYS[4], check, cjson.encode(flag))
  if not flag['valid'] then note(KEYS[5], 'flag', step, check .. ' is invalid: ' .. flag['reason']) end
end
if ARGV[7] ~= '' then
  redis.call('HSET', KEYS[1], 'reason', ARGV[7])
  note(KEYS[5], 'rejected', '', ARGV[7])
  alert(KEYS[11], job, 'rejected', 'warning', ARGV[7])
  redis.call('ZREM', KEYS[10], job .. '|!deadline')
  local keys = {KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]}
  for i = 12, #KEYS do keys[#keys + 1] = KEYS[i] end
  end_job(KEYS[1], KEYS[9], job, 'rejected', now, ARGV[8], ARGV[9], keys)
  return {'recorded'}
end
moved(KEYS[1], 'received', 'processing')
redis.call('HSET', KEYS[1], 'state', 'processing', 'started', now, 'receipt', params_hash)
redis.call('ZADD', KEYS[9], 'XX', now, job)
must_send(KEYS[8], job .. '|' .. ARGV[5])
note(KEYS[5], 'processing', '', '')
return {'recorded', ARGV[5]}
