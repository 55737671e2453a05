"""Define the atomic steps of a batch's life, as Lua inside the queue server.

Keys, under `darefine:`

batches               sorted set of all ids by the time when they were made
batches:active        set of the ids of those that have slides to begin or jobs that are not over
batch:<id>            hash: name, owner, model, options, state, total, begun, created_at, finished_at;
succeeded, failed, cancelled: how many slides ended so
batch:<id>:entries    list of all slides, each the JSON of a BatchEntry
batch:<id>:live       set of the indices of slides that have begun and are not known to be over
batch:<id>:jobs       hash: index -> id of the job
batch:<id>:refused    hash: index -> why it could not become a job
"""

from .lua import PRELUDE

HEAD = (
    PRELUDE
    + """
local id = ARGV[1]
local key = prefix .. 'batch:' .. id
local function end_batch(state)
  redis.call('HSET', key, 'state', state, 'finished_at', timestamp())
  note_event('batch', id, state)
end
-- Takes a batch without anything left to do out of the active ones; ends it unless it is over.
local function end_if_done()
  local found = redis.call('HMGET', key, 'state', 'total', 'begun')
  local over = found[1] == 'cancelled' or found[1] == 'finished'
  if redis.call('SCARD', key .. ':live') > 0 or not (over or found[2] == found[3]) then return end
  redis.call('SREM', prefix .. 'batches:active', id)
  if not over then end_batch('finished') end
end
"""
)

CREATE = (
    HEAD
    + """
if redis.call('EXISTS', key) == 1 then return 0 end
if redis.call('LLEN', ARGV[2]) == 0 then return -1 end
redis.call('RENAME', ARGV[2], key .. ':entries')
redis.call('PERSIST', key .. ':entries')
redis.call('HSET', key, 'state', 'running', 'begun', 0, 'created_at', timestamp(), unpack(ARGV, 3))
redis.call('HSET', key, 'total', redis.call('LLEN', key .. ':entries'))
redis.call('ZADD', prefix .. 'batches', now(), id)
redis.call('SADD', prefix .. 'batches:active', id)
return 1
"""
)
"""Make a batch of the entries that lie in a list for the while.

(id, key of that list, field, value, ...) -> 1; 0 if there is a batch of this id; -1 if the list is gone.
"""

BEGIN = (
    HEAD
    + """
local found = redis.call('HMGET', key, 'state', 'total', 'begun')
if found[1] ~= 'running' or number_or(found[3], 0) >= number_or(found[2], 0) then return -1 end
add_one(key, 'begun')
redis.call('SADD', key .. ':live', found[3])
return tonumber(found[3])
"""
)
"""Begin the next slide of a batch that runs.

(id) -> its index, -1 if there is none.
"""

SETTLE = (
    HEAD
    + """
local index, state, why = ARGV[2], ARGV[3], ARGV[4]
if redis.call('SREM', key .. ':live', index) == 0 then return 0 end
add_one(key, state)
if why ~= '' then redis.call('HSET', key .. ':refused', index, why) end
end_if_done()
return 1
"""
)
"""Note how a slide of a batch ended, once.

(id, index, succeeded, failed or cancelled, why it could not become a job or '') -> 1 if that was news.
"""

MOVE = (
    HEAD
    + """
local from, to = ARGV[2], ARGV[3]
local state = redis.call('HGET', key, 'state')
if not state then return '' end
if state == to then return to end
if state == from or (to == 'cancelled' and state ~= 'finished') then
  if to == 'cancelled' then
    end_batch(to)
    end_if_done()
  else
    redis.call('HSET', key, 'state', to)
  end
  return to
end
return state
"""
)
"""Pause, resume or cancel a batch.

(id, state to leave, state to reach) -> the state it is in now; '' if there is no such batch.
"""
