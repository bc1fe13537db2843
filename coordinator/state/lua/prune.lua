-- Take jobs that are kept no longer out of their shard's index.
-- KEYS: 1 jobs (zset), 2… m (hash) of each job
-- ARGV: the jobs
-- Returns: how many went
-- Invariant: a job that was submitted under an id that another had stays.
local gone = 0
for i, job in ipairs(ARGV) do
  if redis.call('EXISTS', KEYS[i + 1]) == 0 then gone = gone + redis.call('ZREM', KEYS[1], job) end
end
return gone
