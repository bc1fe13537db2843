-- Fail a job whose deadline has passed.
-- KEYS: 1 m (hash), 2 e (stream), 3 active (zset), 4 outbox (zset), 5 alerts (stream), then the job's other keys
-- ARGV: 1 job, 2 error (JSON), 3 message, 4 retention (s), 5 channel, 6 triggers of the error callbacks (JSON)
-- Returns: {'failed'} | {'illegal', state} | {'gone'}
-- Invariant: what is not in the outbox fails nothing: the job was retried since its time had come.
local is_noted = redis.call('ZREM', KEYS[4], ARGV[1] .. '|!deadline') == 1
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {'gone'} end
if not is_noted then return {'illegal', state} end
if state ~= 'received' and state ~= 'processing' and state ~= 'paused' then return {'illegal', state} end
local errbacks = cjson.decode(ARGV[6])
if #errbacks > 0 then
  redis.call('HSET', KEYS[1], 'errbacks', ARGV[6])
  redis.call('HINCRBY', KEYS[1], 'total', #errbacks)
  for _, trigger in ipairs(errbacks) do must_send(KEYS[4], ARGV[1] .. '|' .. trigger) end
end
redis.call('HSET', KEYS[1], 'error', ARGV[2])
note(KEYS[2], 'failed', '', ARGV[3])
alert(KEYS[5], ARGV[1], 'deadline', 'error', ARGV[3])
local keys = {KEYS[1], KEYS[2]}
for i = 6, #KEYS do keys[#keys + 1] = KEYS[i] end
end_job(KEYS[1], KEYS[3], ARGV[1], 'failed', now_ms(), ARGV[4], ARGV[5], keys)
return {'failed'}
