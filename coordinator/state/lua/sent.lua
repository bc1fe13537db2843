-- Take triggers off the outbox: what they named, as the sender knew the job, was sent.
-- KEYS: 1 m (hash), 2 outbox (zset)
-- ARGV: 1 job, 2 epoch in which it was sent: what was noted in another names other messages, 3 when the entries were
--       noted that go (ms; '' for whenever): what was noted later names more, 4… triggers
-- Returns: 'ok'
if epoch_of(KEYS[1]) ~= ARGV[2] then return 'ok' end
for i = 4, #ARGV do
  local member = ARGV[1] .. '|' .. ARGV[i]
  local since = ARGV[3] ~= '' and redis.call('ZSCORE', KEYS[2], member)
  if not since or tonumber(since) == tonumber(ARGV[3]) then redis.call('ZREM', KEYS[2], member) end
end
return 'ok'
