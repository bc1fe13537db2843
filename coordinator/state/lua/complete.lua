-- End a job whose every step was recorded while it could not move (paused, cancelled, then retried).
-- KEYS: 1 m (hash), 2 e (stream), 3 active (zset), 4 a (hash), 5 b (hash), 6 timers (zset),
--       then the job's other keys
-- ARGV: 1 job, 2 retention (s), 3 channel, 4 epoch in which every step was seen to be recorded
-- Returns: {'succeeded'} | {'changed'} (steps were made to run again since) | {'illegal', state} | {'gone'}
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {'gone'} end
if state ~= 'processing' then return {'illegal', state} end
if epoch_of(KEYS[1]) ~= ARGV[4] then return {'changed'} end
note(KEYS[2], 'succeeded', '', '')
redis.call('DEL', KEYS[4], KEYS[5])
redis.call('ZREM', KEYS[6], ARGV[1] .. '|!deadline')
local keys = {KEYS[1], KEYS[2]}
for i = 7, #KEYS do keys[#keys + 1] = KEYS[i] end
end_job(KEYS[1], KEYS[3], ARGV[1], 'succeeded', now_ms(), ARGV[2], ARGV[3], keys)
return {'succeeded'}
