-- Change the limits of a stream while it runs.
-- KEYS: 1 m (hash), 2 r (hash), 3 a (hash), 4 s (hash), 5 v (hash), 6 outbox (zset), 7 e (stream)
-- ARGV: 1 job, 2 step that expanded into it, 3 window ('' as it was), 4 items a batch (0: by measure, '' as it was)
-- Returns: {'tuned', trigger…} | {'ended'} | {'none'}
local job, step = ARGV[1], ARGV[2]
-- Its serial stays where it was forgotten.
if redis.call('HEXISTS', KEYS[4], step .. ':total') == 0 then return {'none'} end
if redis.call('HEXISTS', KEYS[2], step) == 1 then return {'ended'} end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[4], step .. ':window', ARGV[3]) end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[4], step .. ':batch', ARGV[4]) end
note(KEYS[7], 'tuned', step, 'window ' .. redis.call('HGET', KEYS[4], step .. ':window') ..
  ', batch ' .. redis.call('HGET', KEYS[4], step .. ':batch'))
local answer = {'tuned'}
local state = redis.call('HGET', KEYS[1], 'state')
local keys = {m = KEYS[1], r = KEYS[2], a = KEYS[3], s = KEYS[4], v = KEYS[5], outbox = KEYS[6]}
stream.fill(stream.of(keys, job, step, state == 'processing' or state == 'received', answer))
return answer
