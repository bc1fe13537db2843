-- Error callbacks were sent: each stays in the outbox until it has ended, for nobody looks for lost messages of a job
-- that has ended itself. Each time it is sent again later.
-- KEYS: 1 m (hash), 2 r (hash), 3 x (hash), 4 outbox (zset)
-- ARGV: 1 job, 2 shortest wait (ms), 3… triggers of the callbacks
-- Returns: 'ok'
local meta = redis.call('HMGET', KEYS[1], 'state', 'finished')
local now = now_ms()
for i = 3, #ARGV do
  local step, member = string.sub(ARGV[i], 2), ARGV[1] .. '|' .. ARGV[i]
  if meta[1] ~= 'failed' or redis.call('HEXISTS', KEYS[2], step) == 1 or redis.call('HEXISTS', KEYS[3], step) == 1 then
    redis.call('ZREM', KEYS[4], member)
  else
    redis.call('ZADD', KEYS[4], 'XX', now + math.max(tonumber(ARGV[2]), now - meta[2]), member)
  end
end
return 'ok'
