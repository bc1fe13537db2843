-- Read who ran the recorded steps and when, without their values, which may be large. Writes nothing.
-- KEYS: 1 r (hash)
-- ARGV: 1 cursor ('0' to begin), 2 how many records, about
-- Returns: {next cursor ('0' at the end), a line for each record: key, attempt, started (ms), runtime (ms), worker
--          (JSON), with tabs between; of a lost step the key alone}: one text, for many small answers cost a client more than they cost Redis
-- Invariant: a record ends as the journal says: attempt, started, runtime, worker, and what may follow.
local scanned = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])
local lines = {}
for i = 1, #scanned[2], 2 do
  local mark = scanned[2][i + 1]
  local tail = string.sub(mark, -400)
  local attempt, started, runtime, worker = string.match(tail, '.*,%s*(%d+),%s*(%d+),%s*(%d+),%s*("[^"]*")')
  if worker then
    lines[#lines + 1] = table.concat({scanned[2][i], attempt, started, runtime, worker}, '\t')
  elseif mark == '!' or mark == '-' then
    lines[#lines + 1] = scanned[2][i]
  end
end
return {scanned[1], table.concat(lines, '\n')}
