-- Let a paused job go on ('resume'), or a failed or cancelled one ('retry', which keeps what is recorded).
-- KEYS: 1 m (hash), 2 e (stream), 3 active (zset), 4 outbox (zset), 5 x (hash), 6 a (hash),
--       and with 'retry' 7 p, 8 r (hash), 9 g, 10 f, 11 b (hash), 12 s (hash), 13 v, 14 leases (zset), 15 timers (zset)
-- ARGV: 1 job, 2 'resume' or 'retry', 3 token of this call
-- Returns: {'processing' | 'received'} | {'illegal', state} | {'gone'}
-- Invariant: the frontier is in the outbox ("*") until it was sent.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {'gone'} end
local job = ARGV[1]
if is_repeated(KEYS[1], ARGV[3]) then return {state} end
if ARGV[2] == 'resume' then
  if state ~= 'paused' then return {'illegal', state} end
elseif state ~= 'failed' and state ~= 'cancelled' then
  return {'illegal', state}
end
local to = redis.call('HEXISTS', KEYS[1], 'receipt') == 1 and 'processing' or 'received'
moved(KEYS[1], state, to)
redis.call('HSET', KEYS[1], 'state', to, 'steered', ARGV[3])
redis.call('HDEL', KEYS[1], 'finished', 'error', 'reason')
redis.call('ZADD', KEYS[3], now_ms(), job)
must_send(KEYS[4], job .. '|*')
if ARGV[2] == 'retry' then
  redis.call('HINCRBY', KEYS[1], 'retried', 1)
  redis.call('ZREM', KEYS[4], job .. '|!deadline') -- of before, where its reconciler was killed
  lanes.reopen({meta = KEYS[1], records = KEYS[8], attempts = KEYS[6], errors = KEYS[5], barriers = KEYS[11],
    streams = KEYS[12], leases = KEYS[14], timers = KEYS[15], outbox = KEYS[4]}, job)
  for i = 1, 13 do
    if i ~= 3 and i ~= 4 then redis.call('PERSIST', KEYS[i]) end
  end
end
note(KEYS[2], ARGV[2] == 'retry' and 'retried' or 'resumed', '', 'was ' .. state)
return {to}
