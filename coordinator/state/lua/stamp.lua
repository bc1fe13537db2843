-- Give triggers in the outbox the present time, so that they count as in hand.
-- KEYS: 1 outbox (zset)
-- ARGV: 1 job, 2 'add', or when they were noted, '' for whenever: then they must be there already, 3… triggers
-- Returns: their time (ms), '' if none is there
local now, at = exact_ms(), ''
for i = 3, #ARGV do
  local member = ARGV[1] .. '|' .. ARGV[i]
  local since = redis.call('ZSCORE', KEYS[1], member)
  if ARGV[2] == 'add' or since and (ARGV[2] == '' or tonumber(since) == tonumber(ARGV[2])) then
    redis.call('ZADD', KEYS[1], now, member)
    at = string.format('%.17g', now)
  end
end
return at
