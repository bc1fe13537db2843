-- Take a lease back: its process was lost ('lost'), it ran out ('expired'), or its worker ends ('returned').
-- KEYS: 1 a (hash), 2 e (stream), 3 leases (zset), 4 outbox (zset)
-- ARGV: 1 job, 2 step, 3 'lost', 'expired' or 'returned', 4 owner (but with 'expired':
--       only a lease of that worker)
-- Returns: 'released' | 'kept'
-- Invariant: 'expired' and 'lost' leave the step in the outbox until it begins again, so it is sent whatever happens
-- next: the broker does not deliver a message again that came while the lease was held.
local job, step = ARGV[1], ARGV[2]
local member = job .. '|' .. step
local ends = redis.call('ZSCORE', KEYS[3], member)
if not ends then return 'kept' end
local a = read_attempt(KEYS[1], step)
local now = now_ms()
if ARGV[3] == 'expired' then
  if tonumber(ends) > now then return 'kept' end
elseif not a or string.sub(a.token, 1, #ARGV[4]) ~= ARGV[4] then
  return 'kept'
end
redis.call('ZREM', KEYS[3], member)
if ARGV[3] ~= 'returned' then must_send(KEYS[4], job .. '|=' .. step) end
if a and a.live == 1 then
  a.live = 0
  if ARGV[3] ~= 'returned' then a.crashes = a.crashes + 1 end
  write_attempt(KEYS[1], step, a)
  note(KEYS[2], 'lease-' .. ARGV[3], step, 'attempt ' .. a.attempt)
end
return 'released'
