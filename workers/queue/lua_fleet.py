"""Define the atomic steps between workers: signs of life, who takes which job, what the reconciler looks at.

Keys are listed in `workers.queue.lua`.
"""

from .lua import PRELUDE

ANNOUNCE = """
local prefix = 'darefine:'
local name, info, ttl_ms = ARGV[1], ARGV[2], ARGV[3]
redis.call('SADD', prefix .. 'workers', name)
redis.call('SET', prefix .. 'workers:' .. name, info, 'PX', ttl_ms)
return {redis.call('GET', prefix .. 'storage'), redis.call('SCARD', prefix .. 'workers')}
"""
"""Say that a worker lives.

(name, announcement, ttl_ms) -> (token of the API's data folder or None, number of announced workers)
"""

TAKE = (
    PRELUDE
    + """
local name, list, worker, storage, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local models = {}
for index = 6, #ARGV do models[ARGV[index]] = true end
local function suits(entry)
  local id = string.match(entry, '^(%x+)%-%d+$')
  if not id then return true end
  if redis.call('HEXISTS', prefix .. 'refused:' .. worker, id) == 1 then return false end
  local model = redis.call('HGET', key_of(id), 'model_sha256')
  return not model or models[model] or false
end
local expected = redis.call('GET', prefix .. 'storage')
if expected and expected ~= storage then
  redis.call('LPUSH', list, name)
  return {'', list, 'storage'}
end
if suits(name) then return {name, list, ''} end
redis.call('LPUSH', list, name)
for _, key in ipairs(KEYS) do
  for _, entry in ipairs(redis.call('LRANGE', key, 0, limit - 1)) do
    if suits(entry) then
      redis.call('LREM', key, 1, entry)
      return {entry, key, ''}
    end
  end
end
return {'', list, 'none'}
"""
)
"""Judge an entry that a worker has popped off a list; put it back if it is for others, and look for another.

KEYS are the lists in their order. (entry, its list, worker, token of the worker's data folder, entries
looked at in each list, sha256 of each model that the worker has ...)
-> (entry to run or '', its list, '' or why there is none: 'storage', 'none')
"""

GIVE_UP = (
    PRELUDE
    + """
local id, grace, problem = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if redis.call('HGET', key_of(id), 'state') ~= 'queued' then return 0 end
redis.call('ZADD', prefix .. 'unserved', 'NX', now(), id)
if now() - tonumber(redis.call('ZSCORE', prefix .. 'unserved', id)) < grace then return 0 end
redis.call('HSET', key_of(id), 'error', problem)
set_state(id, 'failed')
return 1
"""
)
"""Fail a queued job that no live worker can run, once that has been so for a while.

(id, grace_s, problem) -> 1 if it failed.
"""

PIN = (
    PRELUDE
    + """
local id, attempt, identity = ARGV[1], ARGV[2], ARGV[3]
if not is_running(id, attempt) then return 0 end
return redis.call('HSETNX', key_of(id), 'identity', identity)
"""
)
"""Pin what makes a job's labels, at its first start.

(id, attempt, identity) -> 1 if it was not pinned yet.
"""

TICK = (
    PRELUDE
    + """
local lease = tonumber(ARGV[1])
local time = now()
local last = tonumber(redis.call('GET', prefix .. 'last-tick') or nil)
redis.call('SET', prefix .. 'last-tick', string.format('%.6f', time))
if not last or not (time - last <= lease) then
  redis.call('SET', prefix .. 'settling', 1, 'PX', math.ceil(lease * 1000))
end
local first = redis.call('ZRANGE', prefix .. 'leases', 0, 0, 'WITHSCORES')
local ended = {}
if first[2] and tonumber(first[2]) <= time then
  ended = redis.call('ZRANGEBYSCORE', prefix .. 'leases', 0, time, 'LIMIT', 0, 200)
end
return {#first, ended}
"""
)
"""Note a tick of a reconciler.

(lease_s) -> (0 if no job runs, ids of at most 200 jobs whose lease has ended)
"""

OVERDUE = (
    PRELUDE
    + """
local limit = tonumber(ARGV[1])
local queued = redis.call('ZCARD', prefix .. 'jobs:queued')
local found = {queued, 0}
for index, list in ipairs(KEYS) do
  local order = ARGV[index + 1]
  local ordered = redis.call('ZCARD', prefix .. 'order:' .. order)
  found[2] = found[2] + ordered
  local ids = {}
  if ordered > 0 then
    local head, seen = nil, 0
    local entries = redis.call('LRANGE', list, 0, 499)
    for _, entry in ipairs(entries) do
      local id, attempt = string.match(entry, '^(%x+)%-(%d+)$')
      local score = id and redis.call('ZSCORE', prefix .. 'order:' .. order, id)
      if score and redis.call('HGET', key_of(id), 'attempt') == attempt then
        head = head and math.min(head, tonumber(score)) or tonumber(score)
        seen = seen + 1
        if seen == 20 then break end
      end
    end
    if head or #entries < 500 then
      local until_score = head and string.format('(%.17g', head) or '+inf'
      ids = redis.call('ZRANGEBYSCORE', prefix .. 'order:' .. order, '-inf', until_score, 'LIMIT', 0, limit)
    end
  end
  found[index + 2] = ids
end
return found
"""
)
"""Find queued jobs that RQ's lists should have handed out already.

Their turn was before that of any of the first entries: some may have been moved forward, out of turn.

KEYS are the lists. (most ids of each list, name of the order of each list ...)
-> (number of queued jobs, number of jobs with a place in an order, ids for each list ...)
"""
