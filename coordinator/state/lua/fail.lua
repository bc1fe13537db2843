-- Record that a step failed for good, and fail its job, once.
-- KEYS: 1 m (hash), 2 r (hash), 3 a (hash), 4 x (hash), 5 e (stream), 6 p (string), 7 f (hash),
--       8 g (hash), 9 b (hash), 10 leases (zset), 11 active (zset), 12 timers (zset), 13 alerts (stream), 14 outbox (zset),
--       15 s (hash), 16 v (hash)
-- ARGV: 1 job, 2 step, 3 attempt, or '' with 4, 4 owner: fails the live attempt of that worker, or '?': fails
--       a step of which no attempt has begun since it was stopped or forgotten, by what became of its message, 5 error (JSON),
--       6 message, 7 alert's kind, 8 retention (s), 9 channel, 10 lanes that the step is in, innermost first
--       (JSON: race, number of its lanes, number of this one, first step, last step), 11 triggers of the error
--       callbacks (JSON), 12 with '?': epoch of the message ('' for any), 13 with '?': phase of the step
-- Returns: 'failed' (the job failed now) | 'out' (a lane of a race failed, others are left) |
--          'noted' (the job had ended before) | 'already' | 'fenced' | 'gone'
-- Invariant: one alert a job's failure; a recorded step can't fail. A message of another epoch tells nothing of the
-- present step, nor does any while the job is paused: what is ready is sent again when it goes on. Nor does that of
-- an error callback once its job was retried.
local job, step = ARGV[1], ARGV[2]
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return 'gone' end
if is_lost(KEYS[2], KEYS[1], step) or redis.call('HEXISTS', KEYS[2], step) == 1 or stream.is_over(KEYS[15], step) then
  return 'already'
end
local a = read_attempt(KEYS[3], step)
if ARGV[3] ~= '' then
  -- Without a token it was stopped or forgotten, and nobody has begun it again.
  if not a or a.attempt ~= tonumber(ARGV[3]) or a.token == '' then return 'fenced' end
  if a.live == 0 and redis.call('HEXISTS', KEYS[4], step) == 1 then return 'already' end
elseif ARGV[4] == '?' then
  local is_late = ARGV[12] ~= '' and ARGV[12] ~= epoch_of(KEYS[1]) or ARGV[13] == 'errback' and state ~= 'failed'
  if is_late or state == 'paused' or a and a.token ~= '' then return 'already' end
  a = a or {attempt = 0, crashes = 0, retries = 0, token = '', started = 0, live = 0}
elseif not a or a.live ~= 1 or string.sub(a.token, 1, #ARGV[4]) ~= ARGV[4] then
  return 'already'
end
a.live = 0
write_attempt(KEYS[3], step, a)
redis.call('ZREM', KEYS[10], job .. '|' .. step)
redis.call('ZREM', KEYS[14], job .. '|=' .. step) -- one that was taken back, or an error callback: it is not called again
redis.call('HSET', KEYS[4], step, ARGV[5])
note(KEYS[5], 'step-failed', step, ARGV[6])
if state ~= 'received' and state ~= 'processing' and state ~= 'paused' then
  age(KEYS[1], {KEYS[3], KEYS[4]})
  return 'noted'
end
for _, lane in ipairs(cjson.decode(ARGV[10])) do
  local field = 'race:' .. lane[1]
  if redis.call('HSETNX', KEYS[9], field .. ':' .. lane[3], cjson.encode({lane[4], lane[5]})) == 1 then
    local keys = {meta = KEYS[1], records = KEYS[2], attempts = KEYS[3], barriers = KEYS[9], streams = KEYS[15],
      leases = KEYS[10], timers = KEYS[12]}
    lanes.lose(keys, job, lane[1], lane[4], lane[5], '-')
    redis.call('HINCRBY', KEYS[9], field, 1)
    note(KEYS[5], 'out', lane[1], 'lane ' .. lane[3] .. ' of ' .. lane[2] .. ' failed')
  end
  if tonumber(redis.call('HGET', KEYS[9], field)) < lane[2] then
    redis.call('ZADD', KEYS[11], 'XX', now_ms(), job)
    return 'out'
  end
end
local errbacks = cjson.decode(ARGV[11])
if #errbacks > 0 then
  redis.call('HSET', KEYS[1], 'errbacks', ARGV[11])
  redis.call('HINCRBY', KEYS[1], 'total', #errbacks)
  for _, trigger in ipairs(errbacks) do must_send(KEYS[14], job .. '|' .. trigger) end
end
redis.call('HSET', KEYS[1], 'error', ARGV[5])
redis.call('ZREM', KEYS[12], job .. '|!deadline')
note(KEYS[5], 'failed', step, ARGV[6])
alert(KEYS[13], job, ARGV[7], 'error', ARGV[6])
end_job(KEYS[1], KEYS[11], job, 'failed', now_ms(), ARGV[8], ARGV[9],
  {KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[15], KEYS[16]})
return 'failed'
