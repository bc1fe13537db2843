-- What every script shares: counts, Redis' clock, events, alerts and the end of a job.
-- Put before each script by StateManager. Scripts name their keys in KEYS order.

-- The last keys of every script, beside those that it names: the shard's events (stream), for state/feed.py, and
-- its counts (hash), for coordinator/metrics.py. A field is "what|label|kind of job".
local counts_key, feed_key = table.remove(KEYS), table.remove(KEYS)

local function count(field)
  redis.call('HINCRBY', counts_key, field, 1)
end

-- Count a job's way from one state ('' for none) into another.
local function moved(meta_key, from, to)
  local kind = redis.call('HGET', meta_key, 'kind') or ''
  if from ~= '' then count('out|' .. from .. '|' .. kind) end
  count('in|' .. to .. '|' .. kind)
end

-- Count a time in its bucket (at most so many s), and add it to the sum (ms).
local function took(what, kind, ms)
  local bucket = '+Inf'
  for _, limit_s in ipairs({0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400}) do
    if ms <= limit_s * 1000 then
      bucket = tostring(limit_s)
      break
    end
  end
  count(what .. '|' .. bucket .. '|' .. kind)
  redis.call('HINCRBY', counts_key, what .. '|sum|' .. kind, ms)
end

-- Redis' clock to the microsecond: no two scripts are told the same time.
local function exact_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + t[2] / 1000
end

local function now_ms()
  return math.floor(exact_ms())
end

-- Note in the outbox what must be sent. Who sends takes off what was noted when it looked, and nothing that was noted
-- later: within the same millisecond, too.
local function must_send(outbox_key, member)
  redis.call('ZADD', outbox_key, exact_ms(), member)
end

-- Note an event of the job, ARGV[1], in its own stream and in that of all jobs of the shard.
local function note(events_key, event, step, detail)
  redis.call('XADD', events_key, 'MAXLEN', '~', 1000, '*', 'event', event, 'step', step, 'detail', detail)
  redis.call('XADD', feed_key, 'MAXLEN', '~', 2000, '*', 'job', ARGV[1], 'event', event, 'step', step, 'detail', detail)
  count('event|' .. event .. '|')
end

local function alert(alerts_key, job, kind, severity, message)
  redis.call('XADD', alerts_key, 'MAXLEN', '~', 1000, '*',
    'job', job, 'alert', kind, 'severity', severity, 'message', message)
  count('alert|' .. kind .. '|')
end

-- An attempt's entry: attempt, crashes, retries, token, started (ms), live (1 while leased).
local function read_attempt(attempts_key, step)
  local text = redis.call('HGET', attempts_key, step)
  if not text then return nil end
  local a = cjson.decode(text)
  return {attempt = a[1], crashes = a[2], retries = a[3], token = a[4], started = a[5], live = a[6]}
end

local function write_attempt(attempts_key, step, a)
  redis.call('HSET', attempts_key, step,
    cjson.encode({a.attempt, a.crashes, a.retries, a.token, a.started, a.live}))
end

-- How often steps of a job were made to run again.
local function epoch_of(meta_key)
  return redis.call('HGET', meta_key, 'epoch') or '0'
end

-- The number of the attempt that a record is of, and its worker's name, or nil.
-- Not decoded: a value may be JSON that cjson refuses (a lone surrogate, a deep nesting).
local function attempt_of(record)
  local attempt, worker = string.match(string.sub(record, -400), '.*,%s*(%d+),%s*%d+,%s*%d+,%s*"([^"]*)"')
  return tonumber(attempt or nil), worker
end

-- Whether a step is an error callback of the failure that the job has failed with.
local function is_callback(meta_key, step)
  local errbacks = redis.call('HGET', meta_key, 'errbacks')
  return errbacks and string.find(errbacks, '"=' .. step .. '"', 1, true) ~= nil
end

-- A step is lost when another lane of its race won ('!') or its own lane failed ('-'), and with it
-- whatever stands in its place; but not the error callbacks of that, which are called when the last lane has failed.
local function is_lost(records_key, meta_key, step)
  local key = step
  while key do
    if redis.call('HSTRLEN', records_key, key) == 1 then
      local mark = redis.call('HGET', records_key, key)
      if mark == '!' or mark == '-' then
        return not is_callback(meta_key, step)
      end
    end
    key = string.match(key, '^(.*)/%d+$')
  end
  return false
end

-- Whether a command was done by this very call, whose answer was lost on the way: a command notes its token.
local function is_repeated(meta_key, token)
  return redis.call('HGET', meta_key, 'steered') == token
end

-- Let keys go with their job: one that is first written after the job's end has no end of its own.
local function age(meta_key, keys)
  local left = redis.call('PTTL', meta_key)
  if left < 0 then return end
  for _, key in ipairs(keys) do
    if redis.call('PTTL', key) == -1 then redis.call('PEXPIRE', key, left) end
  end
end

-- End a job: state, time, index, life of its keys, and the word to whoever waits.
local function end_job(meta_key, active_key, job, state, now, retention_s, channel, job_keys)
  local was = redis.call('HMGET', meta_key, 'state', 'kind', 'created')
  moved(meta_key, was[1], state)
  took('took:' .. state, was[2], now - was[3])
  redis.call('HSET', meta_key, 'state', state, 'finished', now)
  redis.call('ZREM', active_key, job)
  for _, key in ipairs(job_keys) do redis.call('EXPIRE', key, retention_s) end
  redis.call('PUBLISH', channel, state)
end
