"""The atomic steps of a job's life, as Lua that runs inside the queue server.

Every step checks the state and the attempt it starts from, so of two writers only one gets its way. Clocks are the
server's alone. Keys, all under `darefine:`

    job:<id>              hash, the record (workers.jobs.Job.to_hash) and members of the queue's own:
                          patches_done; losses, the leases that ended since the last newly finished
                          patch; crashes_at and losses_at, the patches done at the last of either
    jobs                  sorted set of all ids, score 0: lexical order is order of age
    jobs:<state>          the same, by state
    leases                sorted set of running ids by the time their lease ends
    missing               sorted set of queued ids by the time they were first missed in RQ's lists
    idempotency:<sha256>  hash: job, fingerprint

The scripts make keys from ids, so one server (or one primary with replicas) is assumed, not Redis Cluster.
"""

PRELUDE = """
local prefix = 'darefine:'
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local function stamp() return string.format('%.6f', now()) end
local function key_of(id) return prefix .. 'job:' .. id end
local function touch(id) redis.call('HINCRBY', key_of(id), 'revision', 1) end
local function move(id, state)
  local key = key_of(id)
  local old = redis.call('HGET', key, 'state')
  if old then redis.call('ZREM', prefix .. 'jobs:' .. old, id) end
  redis.call('ZADD', prefix .. 'jobs:' .. state, 0, id)
  redis.call('HSET', key, 'state', state)
  redis.call('ZREM', prefix .. 'missing', id)
  if state ~= 'running' then redis.call('ZREM', prefix .. 'leases', id) end
  if state == 'succeeded' or state == 'failed' or state == 'cancelled' then
    redis.call('HSET', key, 'finished_at', stamp())
  end
  touch(id)
end
local function owned(id, attempt)
  local found = redis.call('HMGET', key_of(id), 'state', 'attempt')
  return found[1] == 'running' and found[2] == attempt
end
local function renew(id, lease) redis.call('ZADD', prefix .. 'leases', now() + tonumber(lease), id) end
local function save_progress(id, progress, patches)
  if progress == '' then return end
  redis.call('HSET', key_of(id), 'progress', progress, 'patches_done', patches)
  touch(id)
end
-- True if a cancel was asked for: the job is cancelled now, whatever else has become of it.
local function cancelled(id)
  if redis.call('HEXISTS', key_of(id), 'cancel_requested') == 0 then return false end
  move(id, 'cancelled')
  return true
end
-- Back to the queue as a new attempt, which is returned.
local function requeue(id)
  local key = key_of(id)
  redis.call('HDEL', key, 'worker')
  local attempt = redis.call('HINCRBY', key, 'attempt', 1)
  move(id, 'queued')
  return attempt
end
-- One more of `misfortunes`, 'crashes' or 'losses'. Returns true while the job may be tried again; else it is failed
-- with `problem`.
local function survive(id, misfortunes, most, problem)
  local key = key_of(id)
  local found = redis.call('HMGET', key, 'patches_done', misfortunes .. '_at')
  local patches, before = tonumber(found[1] or '0'), tonumber(found[2] or '-1')
  local count = 1
  if patches > before then
    redis.call('HSET', key, misfortunes, 1, misfortunes .. '_at', patches)
  else
    count = redis.call('HINCRBY', key, misfortunes, 1)
  end
  if count < tonumber(most) then return true end
  redis.call('HSET', key, 'error', problem)
  move(id, 'failed')
  return false
end
"""

SUBMIT = (
    PRELUDE
    + """
local id, idempotency, fingerprint, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if idempotency ~= '' then
  local held = redis.call('HMGET', idempotency, 'job', 'fingerprint')
  if held[1] and redis.call('EXISTS', key_of(held[1])) == 1 then return {held[1], held[2]} end
  redis.call('HSET', idempotency, 'job', id, 'fingerprint', fingerprint)
  redis.call('EXPIRE', idempotency, ttl)
end
redis.call('HSET', key_of(id), unpack(ARGV, 5))
redis.call('HSET', key_of(id), 'created_at', stamp())
redis.call('ZADD', prefix .. 'jobs', 0, id)
move(id, 'queued')
return {id, fingerprint}
"""
)
"""(id, idempotency key or '', fingerprint, ttl_s, field, value, ...) -> (id, fingerprint) of the job that now stands."""

START = (
    PRELUDE
    + """
local id, attempt, worker, lease = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = key_of(id)
if owned(id, attempt) and redis.call('HGET', key, 'worker') == worker then return 1 end
local found = redis.call('HMGET', key, 'state', 'attempt')
if found[1] ~= 'queued' or found[2] ~= attempt then return 0 end
redis.call('HSET', key, 'worker', worker)
redis.call('HSETNX', key, 'started_at', stamp())
move(id, 'running')
renew(id, lease)
return 1
"""
)
"""(id, attempt, worker, lease_s) -> 1 if the worker now owns the attempt. Asking twice is harmless."""

HEARTBEAT = (
    PRELUDE
    + """
local id, attempt, lease, progress, patches = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
if not owned(id, attempt) then return 0 end
renew(id, lease)
save_progress(id, progress, patches)
return 1 + redis.call('HEXISTS', key_of(id), 'cancel_requested')
"""
)
"""(id, attempt, lease_s, progress or '', patches_done) -> 0 not the owner, 1 the owner, 2 the owner and to be cancelled."""

FINISH = (
    PRELUDE
    + """
local id, attempt, state, problem, progress, patches = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local key = key_of(id)
if not owned(id, attempt) then
  local found = redis.call('HMGET', key, 'state', 'attempt')
  return (found[1] == state and found[2] == attempt) and 1 or 0
end
save_progress(id, progress, patches)
if problem ~= '' then redis.call('HSET', key, 'error', problem) end
move(id, state)
return 1
"""
)
"""(id, attempt, final state, problem or '', progress or '', patches_done) -> 1 if the job is now in that state."""

RELEASE = (
    PRELUDE
    + """
local id, attempt = ARGV[1], ARGV[2]
if not owned(id, attempt) or cancelled(id) then return 0 end
return requeue(id)
"""
)
"""(id, attempt) -> the new attempt to queue, 0 if there is none."""

RETRY = (
    PRELUDE
    + """
local id, attempt, worker, lease = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local most, problem, progress, patches = ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local following = tostring(tonumber(attempt) + 1)
local key = key_of(id)
if owned(id, following) and redis.call('HGET', key, 'worker') == worker then return following end
if not owned(id, attempt) then return 0 end
save_progress(id, progress, patches)
if cancelled(id) or not survive(id, 'crashes', most, problem) then return 0 end
redis.call('HSET', key, 'attempt', following)
touch(id)
renew(id, lease)
return following
"""
)
"""(id, attempt, worker, lease_s, max_crashes, problem, progress, patches_done) -> the attempt that goes on, 0 if none."""

REAP = (
    PRELUDE
    + """
local id, most, problem = ARGV[1], ARGV[2], ARGV[3]
local ends = redis.call('ZSCORE', prefix .. 'leases', id)
if not ends or tonumber(ends) > now() then return 0 end
if redis.call('HGET', key_of(id), 'state') ~= 'running' then
  redis.call('ZREM', prefix .. 'leases', id)
  return 0
end
if cancelled(id) or not survive(id, 'losses', most, problem) then return 0 end
return requeue(id)
"""
)
"""(id, max_losses, problem) -> the new attempt to queue if the lease has ended and the job may be tried again, else 0."""

CANCEL = (
    PRELUDE
    + """
local id = ARGV[1]
local state = redis.call('HGET', key_of(id), 'state')
if state == 'queued' then
  move(id, 'cancelled')
elseif state == 'running' and redis.call('HSETNX', key_of(id), 'cancel_requested', '1') == 1 then
  touch(id)
end
return state
"""
)
"""(id) -> the state before: queued is cancelled at once, running is asked to stop; None if there is no such job."""

DELETE = (
    PRELUDE
    + """
local id = ARGV[1]
local state = redis.call('HGET', key_of(id), 'state')
if not state then return 0 end
for _, index in ipairs({'jobs', 'jobs:' .. state, 'leases', 'missing'}) do
  redis.call('ZREM', prefix .. index, id)
end
return redis.call('DEL', key_of(id))
"""
)
"""(id) -> 1 if there was a record to remove."""
