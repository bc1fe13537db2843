-- Take a step and all that came of it out of the journal, and let the job go on from there.
-- KEYS: 1 m (hash), 2 e (stream), 3 r (hash), 4 g (hash), 5 a (hash), 6 b (hash), 7 x (hash),
--       8 active (zset), 9 outbox (zset), 10 p (string), 11 f (hash), 12 s (hash), 13 v (hash), 14 leases (zset),
--       15 timers (zset)
-- ARGV: 1 job, 2 step, 3 number of records and fragments that the caller saw, 4 what goes (JSON: records, by attempt, and steps
--       that have begun, by 0; steps that wait for a countdown first;
--       fragments; counts of the joins; whether checks are among them, which then decide anew),
--       5 how often the job had been retried, as the caller saw before all else: while it is not, nothing begins,
--       6 token of this call
-- Returns: {'processing' | 'received'} | {'changed'} | {'illegal', state} | {'gone'}
-- Invariant: a forgotten step's attempts go on counting, so that a late writer still meets its fence, also one that
-- runs at this moment, on a value that is forgotten; the epoch
-- tells processes that a plan they remember may be another now.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {'gone'} end
if is_repeated(KEYS[1], ARGV[6]) then return {state} end
if state ~= 'failed' and state ~= 'cancelled' then return {'illegal', state} end
if redis.call('HLEN', KEYS[3]) + redis.call('HLEN', KEYS[4]) ~= tonumber(ARGV[3]) then return {'changed'} end
if (redis.call('HGET', KEYS[1], 'retried') or '0') ~= ARGV[5] then return {'changed'} end
local goes = cjson.decode(ARGV[4])
local keys = {meta = KEYS[1], records = KEYS[3], attempts = KEYS[5], errors = KEYS[7], barriers = KEYS[6],
  streams = KEYS[12], leases = KEYS[14], timers = KEYS[15], outbox = KEYS[9]}
lanes.reopen(keys, ARGV[1]) -- first: what stands in a step's place is found by the step's mark
for step, attempt in pairs(goes['records']) do
  lanes.regain(keys, step)
  redis.call('HDEL', KEYS[3], step)
  local a = read_attempt(KEYS[5], step)
  if a then attempt = math.max(attempt, a.attempt) end
  write_attempt(KEYS[5], step, {attempt = attempt, crashes = 0, retries = 0, token = '', started = 0, live = 0})
  redis.call('ZREM', KEYS[14], ARGV[1] .. '|' .. step)
  redis.call('ZREM', KEYS[15], ARGV[1] .. '|' .. step)
end
for _, step in ipairs(goes['delayed']) do -- it waits anew once it is its turn, and not for the time of before
  redis.call('ZREM', KEYS[15], ARGV[1] .. '|' .. step)
  redis.call('ZREM', KEYS[9], ARGV[1] .. '|=' .. step)
  redis.call('HDEL', KEYS[6], 'waited:' .. step)
end
for _, step in ipairs(goes['fragments']) do
  redis.call('HDEL', KEYS[4], step)
  redis.call('HDEL', KEYS[6], 'size:' .. step)
  stream.forget({m = KEYS[1], s = KEYS[12], v = KEYS[13]}, step)
end
for join, count in pairs(goes['counts']) do redis.call('HSET', KEYS[6], join, count) end
if goes['checks'] then redis.call('HDEL', KEYS[1], 'receipt') end
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HINCRBY', KEYS[1], 'retried', 1)
redis.call('ZREM', KEYS[9], ARGV[1] .. '|!deadline') -- of before, where its reconciler was killed
redis.call('HINCRBY', KEYS[1], 'total', 0 - goes['steps'])
local to = redis.call('HEXISTS', KEYS[1], 'receipt') == 1 and 'processing' or 'received'
moved(KEYS[1], state, to)
redis.call('HSET', KEYS[1], 'state', to, 'steered', ARGV[6])
redis.call('HDEL', KEYS[1], 'finished', 'error', 'reason')
redis.call('ZADD', KEYS[8], now_ms(), ARGV[1])
must_send(KEYS[9], ARGV[1] .. '|*')
for i = 1, 13 do
  if i ~= 8 and i ~= 9 then redis.call('PERSIST', KEYS[i]) end
end
note(KEYS[2], 'retried', ARGV[2], 'was ' .. state .. '; from this step on')
return {to}
