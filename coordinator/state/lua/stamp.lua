-- Give a trigger in the outbox the present time, so that it counts as in hand.
-- KEYS: 1 outbox (zset)
-- ARGV: 1 job, 2 trigger, 3 'add', or when it was noted, '' for whenever: then it must be there already
-- Returns: its time (ms) | ''
local member = ARGV[1] .. '|' .. ARGV[2]
local since = redis.call('ZSCORE', KEYS[1], member)
if ARGV[3] ~= 'add' and (not since or ARGV[3] ~= '' and tonumber(since) ~= tonumber(ARGV[3])) then return '' end
local now = now_ms()
redis.call('ZADD', KEYS[1], now, member)
return string.format('%.0f', now)
