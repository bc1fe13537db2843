-- Set the timers of steps that are to run later, once: a step that waits or is recorded is left alone.
-- KEYS: 1 r (hash), 2 a (hash), 3 timers (zset)
-- ARGV: 1 job, then for each step: its key, 'in' or 'at', and the delay or the time (ms)
-- Returns: the steps whose time has come already, or that have begun before
-- Invariant: a timer is set before the outbox entry goes that would have sent the step.
local now, ready = now_ms(), {}
for i = 2, #ARGV, 3 do
  local step = ARGV[i]
  local due = ARGV[i + 1] == 'in' and now + ARGV[i + 2] or tonumber(ARGV[i + 2])
  if redis.call('HEXISTS', KEYS[1], step) == 0 then
    if due <= now or redis.call('HEXISTS', KEYS[2], step) == 1 then
      ready[#ready + 1] = step
    else
      redis.call('ZADD', KEYS[3], 'NX', due, ARGV[1] .. '|' .. step)
    end
  end
end
return ready
