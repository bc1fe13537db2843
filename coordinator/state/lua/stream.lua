-- The items of an `each` that runs in batches: how they are handed out, counted and merged.
-- Put before the scripts that say "stream."; a stream belongs to the step that expanded into it, its owner.
--
-- Fields of s (hash), each after "<owner>:": serial, the number of its next step; total, next, done, failed:
-- items; batches: cut so far; flying: batches in flight; open: all steps in flight; window, batch (0: by
-- measure), room (bytes of a record, where a batch records a list), item_us, item_bytes, largest: limits, and what was
-- learnt; combine, share; more, reading, pages, page, starts, ends, cursor: of a source that is read page by page; list:
-- attempt that stored the pages of a list;
-- n:<level>:<group>: parts of a merge that are recorded; @<page>: where a page ends that is not begun; @<page>:left: its
-- items that are not done;
-- highest: attempt at any of its steps that was recorded; fence: that of the streams that were forgotten here.
-- "<owner>/<serial>" -> share of a step in flight (JSON): ["items", batch, first item, count, page, first within it],
-- ["page", page, cursor, items read], or ["merge", level, group, count].
-- Fields of v (hash): "<owner>:<level>:<index>" -> record; "<owner>@…" -> page; "<owner>!<item>" -> error.
-- Invariant: a step is in s from its cut to its record; its number is never given again.
local stream = {}
local FAN_IN, PAGE_ITEMS, MOST_ITEMS, MOST_CUT, WORTH_US = 100, 1000, 10000, 1000, 100000

local function get(s, name) return tonumber(redis.call('HGET', s.keys.s, s.owner .. ':' .. name) or nil) end
local function set(s, name, value) redis.call('HSET', s.keys.s, s.owner .. ':' .. name, value) end
local function add(s, name, by) return redis.call('HINCRBY', s.keys.s, s.owner .. ':' .. name, by) end
local function drop(s, name) redis.call('HDEL', s.keys.s, s.owner .. ':' .. name) end

-- The step whose stream a step belongs to, or nil.
function stream.owner(s_key, step)
  local owner = string.match(step, '^(.*)/%d+$')
  return owner and redis.call('HEXISTS', s_key, owner .. ':serial') == 1 and owner or nil
end

-- Whether a step of a stream is recorded, or was forgotten.
function stream.is_over(s_key, step)
  return stream.owner(s_key, step) ~= nil and redis.call('HEXISTS', s_key, step) == 0
end

-- Add the triggers of a stream's steps that are in the outbox to an answer.
function stream.noted(s_key, outbox_key, job, step, answer)
  local owner = stream.owner(s_key, step)
  if not owner then return end
  for _, field in ipairs(redis.call('HKEYS', s_key)) do
    if string.match(field, '^(.*)/%d+$') == owner and redis.call('ZSCORE', outbox_key, job .. '|=' .. field) then
      answer[#answer + 1] = '=' .. field
    end
  end
end

-- The attempt above which a step begins: nothing is kept of the attempts that a stream recorded here before it was forgotten,
-- and a late one must still meet its fence, whatever stands here now.
function stream.fence(s_key, step)
  return tonumber(redis.call('HGET', s_key, string.match(step, '^(.*)/%d+$') .. ':fence') or 0)
end

-- keys: m, r, a, s, v, outbox; moving: whether the job's steps may be sent now; answer: gets the triggers.
function stream.of(keys, job, owner, moving, answer)
  return {keys = keys, job = job, owner = owner, moving = moving, answer = answer}
end

-- Let what is kept of streams go with its job: pages may be stored, and steps recorded, after its end.
function stream.age(keys)
  local left = redis.call('PTTL', keys.m)
  for _, key in ipairs({keys.s, keys.v}) do
    if left >= 0 then redis.call('PEXPIRE', key, left) else redis.call(left == -1 and 'PERSIST' or 'DEL', key) end
  end
end

-- Open a step: it is sent now, or as part of the frontier once the job moves again.
local function open(s, share)
  local step = s.owner .. '/' .. (add(s, 'serial', 1) - 1)
  redis.call('HSET', s.keys.s, step, cjson.encode(share))
  add(s, 'open', 1)
  if s.moving then
    must_send(s.keys.outbox, s.job .. '|=' .. step)
    s.answer[#s.answer + 1] = '=' .. step
  end
end

-- As many items as make about 100 ms of work and find room in one record, at most four times a batch that was measured;
-- fewer near the end, so that the last ones end together.
local function size_of_next(s, left)
  local fixed = get(s, 'batch')
  if fixed > 0 then return math.min(fixed, left) end
  local item_us = get(s, 'item_us')
  if not item_us then return 1 end
  local wanted = WORTH_US / item_us
  local near_end = (get(s, 'total') - get(s, 'next')) / 16
  local fair = get(s, 'more') and wanted or math.max(near_end, wanted / 10)
  local fits = (get(s, 'room') or math.huge) / (get(s, 'item_bytes') or 1)
  return math.max(1, math.min(left, math.floor(math.min(wanted, fair, fits, get(s, 'largest') * 4, MOST_ITEMS))))
end

local function turn_page(s)
  local page = get(s, 'page') + 1
  local ends = get(s, '@' .. page)
  if not ends then return false end
  drop(s, '@' .. page)
  set(s, 'page', page)
  set(s, 'starts', get(s, 'ends'))
  set(s, 'ends', ends)
  return true
end

local function read_on(s)
  if not get(s, 'more') or get(s, 'reading') == 1 then return end
  local size = math.max(1, get(s, 'batch'), get(s, 'largest') or 1)
  if get(s, 'total') - get(s, 'next') >= get(s, 'window') * size then return end
  set(s, 'reading', 1)
  open(s, {'page', get(s, 'pages'), redis.call('HGET', s.keys.s, s.owner .. ':cursor'), get(s, 'total')})
end

-- Cut batches until the window is full: the rest of a very wide one when the next step of the stream is recorded.
function stream.fill(s)
  for _ = 1, MOST_CUT do
    if get(s, 'flying') >= get(s, 'window') then break end
    local first, ends = get(s, 'next'), get(s, 'ends')
    if first < ends then
      local count = size_of_next(s, ends - first)
      open(s, {'items', add(s, 'batches', 1) - 1, first, count, get(s, 'page'), first - get(s, 'starts')})
      add(s, 'next', count)
      add(s, 'flying', 1)
    elseif not turn_page(s) then
      break
    end
  end
  read_on(s)
end

function stream.count_attempt(s, attempt)
  if attempt > (get(s, 'highest') or 0) then set(s, 'highest', attempt) end
end

local function is_cut(s) return not get(s, 'more') and get(s, 'next') >= get(s, 'total') end

local function merge(s, level, group, count)
  drop(s, 'n:' .. level .. ':' .. group)
  open(s, {'merge', level + 1, group, count})
end

local function count_part(s, level, index)
  if get(s, 'combine') ~= 1 then return end
  local group = math.floor(index / FAN_IN)
  if add(s, 'n:' .. level .. ':' .. group, 1) == FAN_IN then merge(s, level, group, FAN_IN) end
end

-- Once all batches are cut: merge the last group of each level when it is complete.
local function merge_last(s)
  local parts, level = get(s, 'batches'), 0
  if parts == 0 then
    set(s, 'batches', 1)
    open(s, {'merge', 0, 0, 0})
  end
  while parts > 1 do
    local group = math.floor((parts - 1) / FAN_IN)
    local count = parts - FAN_IN * group
    if get(s, 'n:' .. level .. ':' .. group) == count then merge(s, level, group, count) end
    parts, level = math.ceil(parts / FAN_IN), level + 1
  end
  return level
end

local function learn(s, item_us, item_bytes, count)
  for name, now in pairs({item_us = item_us, item_bytes = item_bytes}) do
    local before = get(s, name)
    set(s, name, math.max(1, before and (before * 0.6 + now * 0.4) or now))
  end
  set(s, 'largest', math.max(count, get(s, 'largest') or 1))
end

local record_of = {}

function record_of.items(s, share, record, turn)
  local index, count, page = share[2], share[4], share[5]
  add(s, 'flying', -1)
  add(s, 'done', count)
  redis.call('HINCRBY', s.keys.m, 'done', count)
  if turn.failed > 0 then add(s, 'failed', turn.failed) end
  for item, text in pairs(turn.failures) do
    if add(s, 'listed', 1) <= 1000 then redis.call('HSET', s.keys.v, s.owner .. '!' .. item, text) end
  end
  learn(s, turn.item_us, #record / count, count)
  redis.call('HSET', s.keys.v, s.owner .. ':0:' .. index, record)
  if get(s, '@' .. page .. ':left') and add(s, '@' .. page .. ':left', -count) == 0 then
    drop(s, '@' .. page .. ':left')
    redis.call('HDEL', s.keys.v, s.owner .. '@' .. page)
  end
  count_part(s, 0, index)
end

function record_of.page(s, share, _, turn)
  set(s, 'reading', 0)
  add(s, 'pages', 1)
  local ends = add(s, 'total', turn.count)
  redis.call('HINCRBY', s.keys.m, 'total', turn.count)
  set(s, '@' .. share[2], ends)
  if turn.count > 0 then
    set(s, '@' .. share[2] .. ':left', turn.count)
    redis.call('HSET', s.keys.v, s.owner .. '@' .. share[2], turn.items)
  end
  if turn.next then set(s, 'cursor', turn.next) else drop(s, 'more') end
end

function record_of.merge(s, share, record)
  local level, group, count = share[2], share[3], share[4]
  for index = FAN_IN * group, FAN_IN * group + count - 1 do
    redis.call('HDEL', s.keys.v, s.owner .. ':' .. (level - 1) .. ':' .. index)
  end
  redis.call('HSET', s.keys.v, s.owner .. ':' .. level .. ':' .. group, record)
  count_part(s, level, group)
end

-- Record the owner: with what its items were merged to, or as expanded.
local function complete(s, level)
  if get(s, 'combine') == 1 then
    local root = s.owner .. ':' .. level .. ':0'
    redis.call('HSET', s.keys.r, s.owner, redis.call('HGET', s.keys.v, root))
    redis.call('HDEL', s.keys.v, root)
  else
    redis.call('HSET', s.keys.r, s.owner, '@')
  end
  local list = get(s, 'list')
  if list then
    for page = 0, math.ceil(get(s, 'total') / PAGE_ITEMS) - 1 do
      redis.call('HDEL', s.keys.v, s.owner .. '@' .. list .. ':' .. page)
    end
  end
end

-- How many items may fail and how many have, where that is over; else nil.
function stream.over(s, turn)
  local failed = get(s, 'failed') + (turn.failed or 0)
  -- 0.29 of 100 are 29, not the 28.999… that floating point makes of it.
  local allowed = math.floor(get(s, 'share') * get(s, 'total') * (1 + 1e-15))
  if (turn.failed or 0) > 0 and failed > allowed then return {'over', tostring(failed), tostring(allowed)} end
end

-- Record a step's share and hand out what is next; true when that was the last.
function stream.record(s, step, record, turn)
  local share = cjson.decode(redis.call('HGET', s.keys.s, step))
  redis.call('HDEL', s.keys.s, step)
  add(s, 'open', -1)
  record_of[share[1]](s, share, record, turn)
  stream.fill(s)
  if not s.moving then stream.age(s.keys) end
  if not is_cut(s) then return false end
  local level = get(s, 'combine') == 1 and merge_last(s) or 0
  if get(s, 'open') > 0 then return false end
  complete(s, level)
  return true
end

-- Take a stream out of a job; the numbers of its steps are not given again. Attempts at them stay, for their fences: a
-- canvas may come to stand here.
function stream.forget(keys, owner)
  local s = stream.of(keys, '', owner, false, {})
  if not get(s, 'serial') then return end
  set(s, 'fence', math.max(get(s, 'fence') or 0, get(s, 'highest') or 0))
  redis.call('HINCRBY', keys.m, 'total', 0 - get(s, 'total'))
  redis.call('HINCRBY', keys.m, 'done', 0 - get(s, 'done'))
  for _, key in ipairs({keys.s, keys.v}) do
    for _, field in ipairs(redis.call('HKEYS', key)) do
      local mark = string.sub(field, #owner + 1, #owner + 1)
      if string.sub(field, 1, #owner) == owner and string.find(':/@!', mark, 1, true) and mark ~= ''
        and field ~= owner .. ':serial' and field ~= owner .. ':fence' then
        redis.call('HDEL', key, field)
      end
    end
  end
end
