-- Pause a job: running steps finish, none starts.
-- KEYS: 1 m (hash), 2 e (stream)
-- ARGV: 1 job, 2 token of this call
-- Returns: {'paused'} | {'illegal', state} | {'gone'}
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {'gone'} end
if is_repeated(KEYS[1], ARGV[2]) then return {'paused'} end
if state ~= 'processing' then return {'illegal', state} end
moved(KEYS[1], state, 'paused')
redis.call('HSET', KEYS[1], 'state', 'paused', 'steered', ARGV[2])
note(KEYS[2], 'paused', '', '')
return {'paused'}
