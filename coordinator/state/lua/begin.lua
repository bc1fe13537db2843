-- Take the right to run a step, or say why not.
-- KEYS: 1 m (hash), 2 r (hash), 3 a (hash), 4 g (hash), 5 p (string), 6 leases (zset),
--       7 outbox (zset), 8 timers (zset), 9 s (hash)
-- ARGV: 1 job, 2 step, 3 token of this delivery, 4 lease (ms), 5 most crashes, 6 phase,
--       7 step whose record is wanted ('' for none), 8 '1' if the plan is wanted, 9… triggers of the step
-- Returns: {'run', attempt, retries, started (ms), record, plan, epoch, share} | {'recorded', trigger…} | {'expanded', trigger…} |
--          {'leased', token} | {'waiting'} | {'stopped', state} | {'exhausted', attempt, crashes} | {'gone'}
-- Invariant: at most one unexpired lease a step; repeating it with one token gives the same lease.
local job, step = ARGV[1], ARGV[2]
local member = job .. '|' .. step
local meta = redis.call('HMGET', KEYS[1], 'state', 'receipt', 'epoch', 'begun', 'kind', 'created')
local state = meta[1]
if not state then return {'gone'} end
if is_lost(KEYS[2], KEYS[1], step) then return {'stopped', 'lost'} end
local is_inner = string.find(step, '/', 1, true)
if redis.call('HEXISTS', KEYS[2], step) == 1 or is_inner and stream.is_over(KEYS[9], step) then
  local answer = {'recorded'}
  stream.noted(KEYS[9], KEYS[7], job, step, answer)
  for i = 9, #ARGV do
    if redis.call('ZSCORE', KEYS[7], job .. '|' .. ARGV[i]) then answer[#answer + 1] = ARGV[i] end
  end
  return answer
end
if redis.call('HEXISTS', KEYS[4], step) == 1 then
  local answer = {'expanded'}
  if redis.call('ZSCORE', KEYS[7], member .. '/^') then answer[2] = step .. '/^' end
  stream.noted(KEYS[9], KEYS[7], job, step .. '/0', answer)
  return answer
end
if ARGV[6] == 'check' then
  if state ~= 'received' then return {'stopped', state} end
elseif ARGV[6] == 'errback' then
  -- A message of an earlier failure may come late: this one is perhaps another step's, with other callbacks.
  if state ~= 'failed' or not is_callback(KEYS[1], step) then return {'stopped', state} end
elseif state ~= 'processing' or not meta[2] then
  return {'stopped', state}
end
local now = now_ms()
local a = read_attempt(KEYS[3], step)
local attempt = a or {attempt = 0, crashes = 0, retries = 0, live = 0}
if attempt.attempt == 0 and is_inner then attempt.attempt = stream.fence(KEYS[9], step) end
if a then
  local due = redis.call('ZSCORE', KEYS[8], member)
  if due and tonumber(due) > now then return {'waiting'} end
  if a.live == 1 then
    local ends = redis.call('ZSCORE', KEYS[6], member)
    if a.token ~= ARGV[3] then
      if ends and tonumber(ends) > now then return {'leased', a.token} end
      attempt.crashes = a.crashes + 1
    end
  end
  if attempt.crashes >= tonumber(ARGV[5]) then return {'exhausted', attempt.attempt, attempt.crashes} end
end
if not (a and a.live == 1 and a.token == ARGV[3]) then
  attempt.attempt = attempt.attempt + 1
  attempt.token, attempt.started, attempt.live = ARGV[3], now, 1
  write_attempt(KEYS[3], step, attempt)
  if state == 'failed' then age(KEYS[1], {KEYS[3]}) end
end
if not meta[4] then
  redis.call('HSET', KEYS[1], 'begun', now)
  took('wait', meta[5], now - meta[6])
end
redis.call('ZADD', KEYS[6], now + ARGV[4], member)
if a then
  redis.call('ZREM', KEYS[8], member)
  if ARGV[6] ~= 'errback' then redis.call('ZREM', KEYS[7], job .. '|=' .. step) end -- its lease was taken back before
end
return {'run', attempt.attempt, attempt.retries, attempt.started,
  ARGV[7] ~= '' and redis.call('HGET', KEYS[2], ARGV[7]) or false,
  ARGV[8] == '1' and redis.call('GET', KEYS[5]) or false,
  meta[3] or '0', redis.call('HGET', KEYS[9], step)}
