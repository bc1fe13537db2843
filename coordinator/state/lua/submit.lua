-- Create a job, once: a second submit under the same id changes nothing, nor does one that is repeated.
-- KEYS: 1 m (hash), 2 p (string), 3 f (hash), 4 e (stream), 5 jobs (zset), 6 active (zset),
--       7 outbox (zset), 8 timers (zset), 9 alerts (stream)
-- ARGV: 1 job, 2 state, 3 plan ('' for none), 4 flags (JSON: check -> flag without its time),
--       5 deadline (ms from now, '' for none), 6 retention (s), 7 reason, 8 token of this submit, 9… fields of m
-- Returns: {'created'} or {'duplicate', state, kind}
-- Invariant: a job that may run has its first trigger in the outbox until its first steps were sent.
local known = redis.call('HMGET', KEYS[1], 'state', 'kind', 'token')
if known[1] then return known[3] == ARGV[8] and {'created'} or {'duplicate', known[1], known[2]} end
local job, now = ARGV[1], now_ms()
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'created', now, 'token', unpack(ARGV, 8))
for check, flag in pairs(cjson.decode(ARGV[4])) do
  flag['at_ms'] = now
  redis.call('HSET', KEYS[3], check, cjson.encode(flag))
end
redis.call('ZADD', KEYS[5], now, job)
note(KEYS[4], 'submitted', '', '')
moved(KEYS[1], '', ARGV[2])
if ARGV[2] == 'rejected' then
  redis.call('HSET', KEYS[1], 'finished', now, 'reason', ARGV[7])
  note(KEYS[4], 'rejected', '', ARGV[7])
  alert(KEYS[9], job, 'rejected', 'warning', ARGV[7])
  for i = 1, 4 do redis.call('EXPIRE', KEYS[i], ARGV[6]) end
  return {'created'}
end
redis.call('SET', KEYS[2], ARGV[3])
redis.call('ZADD', KEYS[6], now, job)
must_send(KEYS[7], job .. '|^')
if ARGV[2] == 'processing' then
  redis.call('HSET', KEYS[1], 'started', now)
  note(KEYS[4], 'processing', '', '')
end
if ARGV[5] ~= '' then redis.call('ZADD', KEYS[8], now + ARGV[5], job .. '|!deadline') end
return {'created'}
