-- Give a trigger in the outbox the present time, so that it counts as in hand.
-- KEYS: 1 outbox (zset)
-- ARGV: 1 job, 2 trigger, 3 'add', or '' for one that must be there already
-- Returns: 'stamped'
local member = ARGV[1] .. '|' .. ARGV[2]
if ARGV[3] == 'add' or redis.call('ZSCORE', KEYS[1], member) then redis.call('ZADD', KEYS[1], now_ms(), member) end
return 'stamped'
