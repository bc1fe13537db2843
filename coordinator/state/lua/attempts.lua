-- Read who ran the recorded steps and when, without their values, which may be large. Writes nothing.
-- KEYS: 1 r (hash)
-- ARGV: 1 cursor ('0' to begin), 2 how many records, about
-- Returns: {next cursor ('0' at the end), key, attempt, started (ms), runtime (ms), worker (JSON) …}
-- Invariant: a record ends as the journal says: attempt, started, runtime, worker, and what may follow.
local scanned = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local answer = {scanned[1]}
for i = 1, #scanned[2], 2 do
  local tail = string.sub(scanned[2][i + 1], -400)
  local attempt, started, runtime, worker = string.match(tail, '.*,%s*(%d+),%s*(%d+),%s*(%d+),%s*("[^"]*")')
  if worker then
    local n = #answer
    answer[n + 1], answer[n + 2], answer[n + 3] = scanned[2][i], attempt, started
    answer[n + 4], answer[n + 5] = runtime, worker
  end
end
return answer
