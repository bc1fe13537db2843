-- What every script shares: Redis' clock, events, alerts and the end of a job.
-- Put before each script by StateManager. Scripts name their keys in KEYS order.

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function note(events_key, event, step, detail)
  redis.call('XADD', events_key, 'MAXLEN', '~', 1000, '*', 'event', event, 'step', step, 'detail', detail)
end

local function alert(alerts_key, job, kind, severity, message)
  redis.call('XADD', alerts_key, 'MAXLEN', '~', 1000, '*',
    'job', job, 'alert', kind, 'severity', severity, 'message', message)
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

-- End a job: state, time, index, life of its keys, and the word to whoever waits.
local function end_job(meta_key, active_key, job, state, now, retention_s, channel, job_keys)
  redis.call('HSET', meta_key, 'state', state, 'finished', now)
  redis.call('ZREM', active_key, job)
  for _, key in ipairs(job_keys) do redis.call('EXPIRE', key, retention_s) end
  redis.call('PUBLISH', channel, state)
end
