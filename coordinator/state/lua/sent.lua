-- Take a trigger off the outbox, for what it named when it was noted was sent.
-- KEYS: 1 outbox (zset)
-- ARGV: 1 job, 2 trigger, 3 when the entry was noted that goes (ms): one that was noted later names more
-- Returns: 'sent' | 'stays'
local member = ARGV[1] .. '|' .. ARGV[2]
local since = redis.call('ZSCORE', KEYS[1], member)
if since and tonumber(since) ~= tonumber(ARGV[3]) then return 'stays' end
redis.call('ZREM', KEYS[1], member)
return 'sent'
