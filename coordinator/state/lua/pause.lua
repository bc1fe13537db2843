-- Pause a job: running steps finish, none starts.
-- KEYS: 1 m (hash), 2 e (stream)
-- ARGV: 1 job
-- Returns: {'paused'} | {'illegal', state} | {'gone'}
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {'gone'} end
if state ~= 'processing' then return {'illegal', state} end
moved(KEYS[1], state, 'paused')
redis.call('HSET', KEYS[1], 'state', 'paused')
note(KEYS[2], 'paused', '', '')
return {'paused'}
