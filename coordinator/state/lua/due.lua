-- Move timers that are due to the outbox, so that their steps are sent whatever happens next.
-- KEYS: 1 timers (zset), 2 outbox (zset)
-- ARGV: 1 at most this many
-- Returns: the members moved, as "job|=step" or "job|!deadline"
-- Invariant: a member is in one of the two sets at any time.
local now = now_ms()
local moved = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local job, step = string.match(member, '^(.*)|([^|]*)$')
  local entry = member
  if string.sub(step, 1, 1) ~= '!' then entry = job .. '|=' .. step end
  must_send(KEYS[2], entry)
  redis.call('ZREM', KEYS[1], member)
  moved[#moved + 1] = entry
end
return moved
