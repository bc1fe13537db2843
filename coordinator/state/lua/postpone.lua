-- Set the timers of steps that are to run later, once: a step that waits or is recorded is left alone.
-- KEYS: 1 r (hash), 2 a (hash), 3 timers (zset), 4 m (hash), 5 b (hash)
-- ARGV: 1 job, then for each step: its key, 'in' or 'at', and the delay or the time (ms); 'now' for one that has waited
-- Returns: the steps whose time has come already
-- Invariant: a timer is set before the outbox entry goes that would have sent the step. Whose time has come has a field
-- in b: should its message be dropped, as while the job is paused, or its attempt be lost, it does not wait once more; a
-- forgotten one does, also where a message of before has begun it and was given back.
local now, ready = now_ms(), {}
for i = 2, #ARGV, 3 do
  local step = ARGV[i]
  local due = ARGV[i + 1] == 'in' and now + ARGV[i + 2] or tonumber(ARGV[i + 2])
  if redis.call('HEXISTS', KEYS[1], step) == 0 then
    local a = read_attempt(KEYS[2], step)
    if ARGV[i + 1] == 'now' and redis.call('EXISTS', KEYS[4]) == 1 then
      redis.call('HSET', KEYS[5], 'waited:' .. step, 1)
      age(KEYS[4], {KEYS[5]})
      if not a then redis.call('ZREM', KEYS[3], ARGV[1] .. '|' .. step) end
    end
    if due <= now or redis.call('HEXISTS', KEYS[5], 'waited:' .. step) == 1 then
      ready[#ready + 1] = step
    else
      redis.call('ZADD', KEYS[3], 'NX', due, ARGV[1] .. '|' .. step)
    end
  end
end
return ready
