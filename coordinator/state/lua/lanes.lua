-- The steps of a race that run no more: marked, counted, and unmarked when their job is tried again.
-- Put before the scripts that say "lanes.".
--
-- A step's mark is its record: '!' where another lane has won, '-' where its own lane has failed. Whatever stands
-- in the step's place goes with it: the steps of its canvas are marked too, as many as b's field "size:<step>"
-- says; the items of its stream that are not done are counted. Field lost of m: how many of what `total` counts
-- are lost, steps and items; r and m's `done` count them too, so that r and done make the total of a job that ended.
local lanes = {}

local function mark_of(records_key, step)
  if redis.call('HSTRLEN', records_key, step) ~= 1 then return nil end
  local mark = redis.call('HGET', records_key, step)
  return (mark == '!' or mark == '-') and mark or nil
end

-- Count the items that a step's stream has left as lost, or as lost no more.
local function count_items(keys, step, sign)
  local total = redis.call('HGET', keys.streams, step .. ':total')
  if not total then return end
  local left = sign * (total - redis.call('HGET', keys.streams, step .. ':done'))
  if left == 0 then return end -- -1 * 0 is -0, which is no integer to Redis
  redis.call('HINCRBY', keys.meta, 'lost', left)
  redis.call('HINCRBY', keys.meta, 'done', left)
end

local function stop(keys, job, step)
  local a = read_attempt(keys.attempts, step)
  if a then
    a.live, a.token = 0, ''
    write_attempt(keys.attempts, step, a)
  end
  redis.call('ZREM', keys.leases, job .. '|' .. step)
  redis.call('ZREM', keys.timers, job .. '|' .. step)
end

-- The batches of a step's stream that are in flight.
local function stop_batches(keys, job, step)
  if redis.call('HEXISTS', keys.streams, step .. ':total') == 0 then return end
  for _, field in ipairs(redis.call('HKEYS', keys.streams)) do
    if string.match(field, '^(.*)/%d+$') == step then stop(keys, job, field) end
  end
end

-- Act on the steps of the canvas that stands in a step's place.
local function each_within(keys, step, act)
  for number = 0, (redis.call('HGET', keys.barriers, 'size:' .. step) or 0) - 1 do act(step .. '/' .. number) end
end

local function lose_step(keys, job, step, mark)
  local present = mark_of(keys.records, step)
  if present == '!' or (not present and redis.call('HEXISTS', keys.records, step) == 1) then return end
  if not present then
    redis.call('HINCRBY', keys.meta, 'lost', 1)
    count_items(keys, step, 1)
    stop_batches(keys, job, step)
  end
  redis.call('HSET', keys.records, step, mark)
  stop(keys, job, step)
  each_within(keys, step, function(inner) lose_step(keys, job, inner, mark) end)
end

-- Mark the steps of a lane that are not recorded: none of them runs from now on. A step that runs loses its lease.
-- keys: meta, records, attempts, barriers, streams, leases, timers.
function lanes.lose(keys, job, race, first, last, mark)
  local prefix = string.match(race, '^(.*/)') or ''
  for number = first, last do lose_step(keys, job, prefix .. number, mark) end
end

-- Take a step's mark off, if it has one. keys: meta, records, streams.
function lanes.regain(keys, step)
  if not mark_of(keys.records, step) then return end
  redis.call('HDEL', keys.records, step)
  redis.call('HINCRBY', keys.meta, 'lost', -1)
  count_items(keys, step, -1)
end

local function reopen_step(keys, step)
  if mark_of(keys.records, step) ~= '-' then return end
  lanes.regain(keys, step)
  each_within(keys, step, function(inner) reopen_step(keys, inner) end)
end

-- A failed job goes on: every step starts over, lanes that failed race again, and error callbacks may be called again.
-- keys: meta, records, attempts, errors, barriers, streams, leases, timers, outbox.
function lanes.reopen(keys, job)
  -- Crashes and retries of before no longer count against a step, nor does it wait for one of them.
  -- Its attempt number stays: a late writer of an old attempt must still meet the fence.
  for _, step in ipairs(redis.call('HKEYS', keys.attempts)) do
    local a = read_attempt(keys.attempts, step)
    if a.retries > 0 then redis.call('ZREM', keys.timers, job .. '|' .. step) end
    a.crashes, a.retries = 0, 0
    if redis.call('HEXISTS', keys.errors, step) == 1 then a.live = 0 end
    write_attempt(keys.attempts, step, a)
  end
  redis.call('DEL', keys.errors)
  for _, field in ipairs(redis.call('HKEYS', keys.barriers)) do
    local race = string.match(field, '^race:([%d/]+):%d+$')
    if race then
      local prefix = string.match(race, '^(.*/)') or ''
      local lane = cjson.decode(redis.call('HGET', keys.barriers, field))
      for number = lane[1], lane[2] do reopen_step(keys, prefix .. number) end
    end
    if string.sub(field, 1, 5) == 'race:' then redis.call('HDEL', keys.barriers, field) end
  end
  local errbacks = redis.call('HGET', keys.meta, 'errbacks')
  if errbacks then
    local steps = cjson.decode(errbacks)
    for _, trigger in ipairs(steps) do
      local step = string.sub(trigger, 2)
      local number = attempt_of(redis.call('HGET', keys.records, step) or '')
      if number then -- the next call's fence must be higher
        write_attempt(keys.attempts, step,
          {attempt = number, crashes = 0, retries = 0, token = '', started = 0, live = 0})
      end
      redis.call('HDEL', keys.records, step)
      redis.call('HDEL', keys.barriers, 'waited:' .. step)
      redis.call('ZREM', keys.outbox, job .. '|' .. trigger)
      stop(keys, job, step) -- one that runs still speaks of a failure that is past
    end
    redis.call('HINCRBY', keys.meta, 'total', 0 - #steps)
    redis.call('HDEL', keys.meta, 'errbacks')
  end
end
