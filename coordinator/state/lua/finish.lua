-- Record a step's result, count its barrier, and note what must now be sent. First write wins.
-- KEYS: 1 m (hash), 2 r (hash), 3 a (hash), 4 b (hash), 5 e (stream), 6 p (string), 7 f (hash),
--       8 g (hash), 9 x (hash), 10 leases (zset), 11 outbox (zset), 12 active (zset), 13 timers (zset),
--       14 s (hash), 15 v (hash)
-- ARGV: 1 job, 2 step, 3 attempt (the fence; '' where a retry completes a job), 4 record (JSON),
--       5 follow (JSON list), 6 retention (s), 7 channel, 8 what came of a stream's step (JSON; '' for others)
-- Returns: {'recorded' | 'already', trigger…} | {'fenced', attempt} | {'lost'} | {'gone'} |
--          {'over', items that failed, how many may}
-- Invariant: a barrier counts a step once, in the same script that records it; what must follow is in the
-- outbox before this returns, and is answered again if the call is repeated. A race has one winner: the first
-- lane that ends takes all steps of the others out, in this script.
local job, step = ARGV[1], ARGV[2]
local now = now_ms()
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return {'gone'} end
local moving = state == 'processing' or state == 'received'
local answer

if is_lost(KEYS[2], KEYS[1], step) then
  redis.call('ZREM', KEYS[10], job .. '|' .. step)
  return {'lost'}
end
local is_inner = string.find(step, '/', 1, true)
if redis.call('HEXISTS', KEYS[2], step) == 1 or is_inner and stream.is_over(KEYS[14], step) then
  answer = {'already'}
  local record = redis.call('HGET', KEYS[2], step)
  if record and string.sub(record, 1, 1) == '[' then
    -- The same attempt may say it again, when the answer was lost; another came late.
    local by = attempt_of(record)
    if by and by ~= tonumber(ARGV[3]) then
      note(KEYS[5], 'fenced', step, 'attempt ' .. ARGV[3] .. ' came late; attempt ' .. by .. ' has recorded it')
      redis.call('HINCRBY', KEYS[1], 'fenced', 1)
    end
  end
  stream.noted(KEYS[14], KEYS[11], job, step, answer)
  for _, part in ipairs(cjson.decode(ARGV[5])) do
    if part[1] == 'next' and redis.call('ZSCORE', KEYS[11], job .. '|' .. part[2]) then
      answer[#answer + 1] = part[2]
    end
  end
  return answer
end

local a = read_attempt(KEYS[3], step)
if not a or a.live ~= 1 or a.attempt ~= tonumber(ARGV[3]) then
  local holder = a and tostring(a.attempt) or 'none'
  note(KEYS[5], 'fenced', step, 'attempt ' .. ARGV[3] .. ' came late; the step is at attempt ' .. holder)
  redis.call('HINCRBY', KEYS[1], 'fenced', 1)
  return {'fenced', holder}
end
answer = {'recorded'}
local owner, part_of, turn = is_inner and stream.owner(KEYS[14], step)
if owner then
  local keys = {m = KEYS[1], r = KEYS[2], a = KEYS[3], s = KEYS[14], v = KEYS[15], outbox = KEYS[11]}
  part_of, turn = stream.of(keys, job, owner, moving, answer), cjson.decode(ARGV[8])
  local over = stream.over(part_of, turn)
  if over then return over end
  stream.count_attempt(part_of, a.attempt)
else
  redis.call('HSET', KEYS[2], step, ARGV[4])
end
count('recorded||')
redis.call('HDEL', KEYS[3], step)
redis.call('ZREM', KEYS[10], job .. '|' .. step)
if moving then redis.call('ZADD', KEYS[12], 'XX', now, job) end

for _, part in ipairs(cjson.decode(ARGV[5])) do
  local what = part[1]
  if what == 'join' then
    if redis.call('HINCRBY', KEYS[4], part[2], 1) < part[3] then break end
  elseif what == 'stream' then
    if not stream.record(part_of, step, ARGV[4], turn) then break end
  elseif what == 'win' then
    local race = part[2]
    if redis.call('HEXISTS', KEYS[2], race) == 1 then break end
    local keys = {meta = KEYS[1], records = KEYS[2], attempts = KEYS[3], barriers = KEYS[4], streams = KEYS[14],
      leases = KEYS[10], timers = KEYS[13]}
    lanes.lose(keys, job, race, part[5], part[3] - 1, '!')
    lanes.lose(keys, job, race, part[4], part[6] - 1, '!')
    redis.call('HSET', KEYS[2], race, '>' .. part[7])
    note(KEYS[5], 'won', race, 'by the lane that ended with step ' .. step)
  elseif what == 'up' then
    redis.call('HSET', KEYS[2], part[2], '@') -- its attempt stays in a: no record tells the number
  elseif what == 'next' then
    if moving then
      must_send(KEYS[11], job .. '|' .. part[2])
      answer[#answer + 1] = part[2]
    end
  elseif what == 'end' and (moving or state == 'paused') then
    note(KEYS[5], 'succeeded', '', '')
    redis.call('DEL', KEYS[3], KEYS[4])
    redis.call('ZREM', KEYS[13], job .. '|!deadline')
    end_job(KEYS[1], KEYS[12], job, 'succeeded', now, ARGV[6], ARGV[7],
      {KEYS[1], KEYS[2], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[14], KEYS[15]})
  end
end
if not moving then
  age(KEYS[1], {KEYS[2], KEYS[4]})
  redis.call('ZREM', KEYS[11], job .. '|=' .. step) -- an error callback stays there until now
end
return answer
