-- Cancel a job: nothing of it starts from now on.
-- KEYS: 1 m (hash), 2 e (stream), 3 active (zset), 4 timers (zset), then the job's other keys
-- ARGV: 1 job, 2 reason, 3 retention (s), 4 channel, 5 token of this call
-- Returns: {'cancelled'} | {'illegal', state} | {'gone'}
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {'gone'} end
if is_repeated(KEYS[1], ARGV[5]) then return {'cancelled'} end
if state ~= 'received' and state ~= 'processing' and state ~= 'paused' then return {'illegal', state} end
redis.call('HSET', KEYS[1], 'reason', ARGV[2], 'steered', ARGV[5])
note(KEYS[2], 'cancelled', '', ARGV[2])
redis.call('ZREM', KEYS[4], ARGV[1] .. '|!deadline')
local keys = {KEYS[1], KEYS[2]}
for i = 5, #KEYS do keys[#keys + 1] = KEYS[i] end
end_job(KEYS[1], KEYS[3], ARGV[1], 'cancelled', now_ms(), ARGV[3], ARGV[4], keys)
return {'cancelled'}
