-- Lengthen the lease of a step that is still running, and tell how its job stands.
-- KEYS: 1 m (hash), 2 a (hash), 3 leases (zset), 4 r (hash)
-- ARGV: 1 job, 2 step, 3 owner, 4 lease (ms)
-- Returns: {'renewed' | 'lost', state}; the state is 'lost' for a step whose race was won by another
local state = redis.call('HGET', KEYS[1], 'state') or 'gone'
if is_lost(KEYS[4], KEYS[1], ARGV[2]) then return {'lost', 'lost'} end
local a = read_attempt(KEYS[2], ARGV[2])
if not a or a.live ~= 1 or string.sub(a.token, 1, #ARGV[3]) ~= ARGV[3] then return {'lost', state} end
redis.call('ZADD', KEYS[3], now_ms() + ARGV[4], ARGV[1] .. '|' .. ARGV[2])
return {'renewed', state}
