"""Define the atomic steps of a job's life, as Lua that runs inside the queue server.

Every step checks the state and the attempt it starts from, so of two writers only one gets its way. Clocks
are the server's alone. Keys, all under `darefine:`

    job:<id>              hash, the record (workers.queue.records.encode_job) and members of the queue's own:
                          patches_done; losses, the leases that ended since the last newly finished
                          patch; crashes_at and losses_at, the patches done at the last of either;
                          slide, priority and model_sha256, copies out of the request
    jobs                  sorted set of all ids, score 0: lexical order is order of age
    jobs:<state>          the same, by state
    leases                sorted set of running ids by the time their lease ends
    order:<priority>      sorted set of queued ids in the order in which RQ's list of that priority has them
    missing               sorted set of queued ids by the time they were first missed in RQ's lists
    slide:<id>            set of the ids of jobs on that slide that are not over
    refused:<worker>      hash of the jobs that this worker cannot run: id -> problem
    unserved              sorted set of queued ids by the time since when no live worker can run them
    storage               token of the data folder of the API (workers.queue.storage)
    idempotency:<sha256>  hash: job, fingerprint
    work:<sha256>         id of the newest job of this slide, model and parameters that succeeded

A record's members `work` and `lane` are what it was submitted with (`workers.queue.client`).

The scripts make keys from ids, so one server (or one primary with replicas) is assumed, not Redis Cluster.
"""

PRELUDE = """
local prefix = 'darefine:'
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local function timestamp() return string.format('%.6f', now()) end
local function key_of(id) return prefix .. 'job:' .. id end
-- Adds one to a field, which starts at 1 where it is no number: others than we may have written it.
local function add_one(key, field)
  local reply = redis.pcall('HINCRBY', key, field, 1)
  if type(reply) == 'number' then return reply end
  redis.call('HSET', key, field, 1)
  return 1
end
-- Returns the next number of a counter; where others have written no number, it goes on from the clock.
local function next_number(key)
  local reply = redis.pcall('INCR', key)
  if type(reply) == 'number' then return reply end
  local number = math.floor(now() * 1000)
  redis.call('SET', key, string.format('%d', number))
  return number
end
local function number_or(value, default) return tonumber(value or default) or default end
local function raise_revision(id) add_one(key_of(id), 'revision') end
-- Keeps what has happened for webhooks, if there is any (workers.queue.webhooks).
local function note_event(kind, id, state)
  if redis.call('EXISTS', prefix .. 'webhooks') == 0 then return end
  local number = string.format('%d', next_number(prefix .. 'happened:number'))
  redis.call('RPUSH', prefix .. 'happened', table.concat({number, kind, id, state, timestamp()}, ' '))
  redis.call('LTRIM', prefix .. 'happened', -100000, -1)
end
-- Lets a job that succeeded be found by what it has done, and tells whoever wants to hear of it.
local function note_final(id, old, state)
  if old == state then return end
  note_event('job', id, state)
  local work = redis.call('HGET', key_of(id), 'work')
  if state == 'succeeded' and work then redis.call('SET', prefix .. 'work:' .. work, id) end
end
local function order_of(priority)
  return prefix .. 'order:' .. (priority == 'high' and 'high' or 'normal')
end
-- Notes that a job waits behind all others of its priority, or, with a `sign` of -1, before them.
local function note_order(id, priority, sign)
  redis.call('ZADD', order_of(priority), sign * next_number(prefix .. 'sequence'), id)
end
-- Moves a job to another state and all indices with it.
local function set_state(id, state)
  local key = key_of(id)
  local found = redis.call('HMGET', key, 'state', 'priority', 'slide')
  local old, priority, slide = found[1], found[2], found[3]
  if old then redis.call('ZREM', prefix .. 'jobs:' .. old, id) end
  redis.call('ZADD', prefix .. 'jobs:' .. state, 0, id)
  redis.call('HSET', key, 'state', state)
  if old == 'queued' then
    redis.call('ZREM', order_of(priority), id)
    redis.call('ZREM', prefix .. 'missing', id)
    redis.call('ZREM', prefix .. 'unserved', id)
  elseif old == 'running' then
    redis.call('ZREM', prefix .. 'leases', id)
  end
  if state == 'succeeded' or state == 'failed' or state == 'cancelled' then
    redis.call('HSET', key, 'finished_at', timestamp())
    note_final(id, old, state)
    if slide then redis.call('SREM', prefix .. 'slide:' .. slide, id) end
  end
  raise_revision(id)
end
local function is_running(id, attempt)
  local found = redis.call('HMGET', key_of(id), 'state', 'attempt')
  return found[1] == 'running' and found[2] == attempt
end
local function renew_lease(id, lease)
  redis.call('ZADD', prefix .. 'leases', now() + tonumber(lease), id)
end
local function save_progress(id, progress, patches)
  if progress == '' then return end
  redis.call('HSET', key_of(id), 'progress', progress, 'patches_done', patches)
  raise_revision(id)
end
-- Cancels the job and returns true if a cancel was asked for, whatever else has become of the job.
local function cancel_if_requested(id)
  if redis.call('HEXISTS', key_of(id), 'cancel_requested') == 0 then return false end
  set_state(id, 'cancelled')
  return true
end
-- Puts the job back into the queue as a new attempt and returns that.
local function requeue(id)
  local key = key_of(id)
  redis.call('HDEL', key, 'worker')
  local attempt = add_one(key, 'attempt')
  set_state(id, 'queued')
  note_order(id, redis.call('HGET', key, 'priority'), -1)
  return attempt
end
-- Adds one to `counter`, 'crashes' or 'losses', which starts again at 1 after a newly finished patch. Returns
-- true while the job may be tried again; at `limit` it fails the job with `problem`.
local function count_failure(id, counter, limit, problem)
  local key = key_of(id)
  local found = redis.call('HMGET', key, 'patches_done', counter .. '_at')
  local patches, before = number_or(found[1], 0), number_or(found[2], -1)
  local count = 1
  if patches > before then
    redis.call('HSET', key, counter, 1, counter .. '_at', patches)
  else
    count = add_one(key, counter)
  end
  if count < tonumber(limit) then return true end
  redis.call('HSET', key, 'error', problem)
  set_state(id, 'failed')
  return false
end
"""

SUBMIT = (
    PRELUDE
    + """
local id, idempotency, fingerprint, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local slide, priority, model, storage = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
if idempotency ~= '' then
  local held = redis.call('HMGET', idempotency, 'job', 'fingerprint')
  if held[1] and redis.call('EXISTS', key_of(held[1])) == 1 then return {held[1], held[2] or ''} end
  redis.call('HSET', idempotency, 'job', id, 'fingerprint', fingerprint)
  redis.call('EXPIRE', idempotency, ttl)
end
local key = key_of(id)
redis.call('HSET', key, unpack(ARGV, 9))
redis.call('HSET', key, 'created_at', timestamp(), 'slide', slide, 'priority', priority)
if model ~= '' then redis.call('HSET', key, 'model_sha256', model) end
if storage ~= '' then redis.call('SET', prefix .. 'storage', storage) end
redis.call('ZADD', prefix .. 'jobs', 0, id)
redis.call('SADD', prefix .. 'slide:' .. slide, id)
set_state(id, 'queued')
note_order(id, priority, 1)
return {id, fingerprint}
"""
)
"""Record a new job, unless its idempotency key already stands for one.

(id, idempotency key or '', fingerprint, ttl_s, slide id, priority, sha256 of the model or '', token of the
data folder or '', field, value, ...)
-> (id, fingerprint) of the job that now stands.
"""

START = (
    PRELUDE
    + """
local id, attempt, worker, lease = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = key_of(id)
if is_running(id, attempt) and redis.call('HGET', key, 'worker') == worker then return 1 end
local found = redis.call('HMGET', key, 'state', 'attempt')
if found[1] ~= 'queued' or found[2] ~= attempt then return 0 end
redis.call('HSET', key, 'worker', worker)
redis.call('HSETNX', key, 'started_at', timestamp())
set_state(id, 'running')
renew_lease(id, lease)
return 1
"""
)
"""Give a queued attempt to a worker; asking twice is harmless.

(id, attempt, worker, lease_s) -> 1 if the worker now owns the attempt.
"""

HEARTBEAT = (
    PRELUDE
    + """
local id, attempt, lease, progress, patches = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if not is_running(id, attempt) then return 0 end
renew_lease(id, lease)
save_progress(id, progress, patches)
return 1 + redis.call('HEXISTS', key_of(id), 'cancel_requested')
"""
)
"""Renew the lease of a running attempt and save its progress.

(id, attempt, lease_s, progress or '', patches_done)
-> 0 not the owner, 1 the owner, 2 the owner and to be cancelled.
"""

FINISH = (
    PRELUDE
    + """
local id, attempt, state, problem, progress, patches = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local key = key_of(id)
if not is_running(id, attempt) then
  local found = redis.call('HMGET', key, 'state', 'attempt')
  return (found[1] == state and found[2] == attempt) and 1 or 0
end
save_progress(id, progress, patches)
if problem ~= '' then redis.call('HSET', key, 'error', problem) end
set_state(id, state)
return 1
"""
)
"""Move a running attempt to a final state; asking twice is harmless.

(id, attempt, final state, problem or '', progress or '', patches_done)
-> 1 if the job is now in that state.
"""

RELEASE = (
    PRELUDE
    + """
local id, attempt = ARGV[1], ARGV[2]
if not is_running(id, attempt) or cancel_if_requested(id) then return 0 end
return requeue(id)
"""
)
"""Put a running job back into the queue without blame.

(id, attempt) -> the new attempt to queue, 0 if there is none.
"""

RETRY = (
    PRELUDE
    + """
local id, attempt, worker, lease = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local limit, problem, progress, patches = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local next_attempt = tostring(tonumber(attempt) + 1)
local key = key_of(id)
if is_running(id, next_attempt) and redis.call('HGET', key, 'worker') == worker then return next_attempt end
if not is_running(id, attempt) then return 0 end
save_progress(id, progress, patches)
if cancel_if_requested(id) or not count_failure(id, 'crashes', limit, problem) then return 0 end
redis.call('HSET', key, 'attempt', next_attempt)
raise_revision(id)
renew_lease(id, lease)
return next_attempt
"""
)
"""Count a crash of a running attempt and go on with the next; asking twice is harmless.

(id, attempt, worker, lease_s, max_crashes, problem, progress, patches_done)
-> the attempt that goes on, 0 if none.
"""

REAP = (
    PRELUDE
    + """
local id, limit, problem = ARGV[1], ARGV[2], ARGV[3]
local lease_end = redis.call('ZSCORE', prefix .. 'leases', id)
if not lease_end or tonumber(lease_end) > now() then return 0 end
if redis.call('HGET', key_of(id), 'state') ~= 'running' then
  redis.call('ZREM', prefix .. 'leases', id)
  return 0
end
if cancel_if_requested(id) or not count_failure(id, 'losses', limit, problem) then return 0 end
return requeue(id)
"""
)
"""Count a lost worker and requeue the job.

(id, max_losses, problem)
-> the new attempt to queue if the lease has ended and the job may be tried again, else 0.
"""

FAIL = (
    PRELUDE
    + """
local id, problem = ARGV[1], ARGV[2]
if redis.call('EXISTS', key_of(id)) == 0 then return 0 end
redis.call('HSET', key_of(id), 'error', problem)
set_state(id, 'failed')
return 1
"""
)
"""Fail a job whatever its state, because nobody could run it.

(id, problem) -> 1 if there was one.
"""

CANCEL = (
    PRELUDE
    + """
local id = ARGV[1]
local state = redis.call('HGET', key_of(id), 'state')
if state == 'queued' then
  set_state(id, 'cancelled')
elseif state == 'running' and redis.call('HSETNX', key_of(id), 'cancel_requested', '1') == 1 then
  raise_revision(id)
end
return state
"""
)
"""Cancel a queued job at once; ask a running one to stop.

(id) -> the state before; None if there is no such job.
"""

DELETE = (
    PRELUDE
    + """
local id = ARGV[1]
local found = redis.call('HMGET', key_of(id), 'state', 'priority', 'slide')
local state = found[1]
if not state then return 0 end
local work = redis.call('HGET', key_of(id), 'work')
if work and redis.call('GET', prefix .. 'work:' .. work) == id then
  redis.call('DEL', prefix .. 'work:' .. work)
end
for _, index in ipairs({'jobs', 'jobs:' .. state, 'leases', 'missing', 'unserved'}) do
  redis.call('ZREM', prefix .. index, id)
end
redis.call('ZREM', order_of(found[2]), id)
if found[3] then redis.call('SREM', prefix .. 'slide:' .. found[3], id) end
return redis.call('DEL', key_of(id))
"""
)
"""Remove a job's record.

(id) -> 1 if there was one.
"""
