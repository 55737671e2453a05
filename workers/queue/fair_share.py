"""Let lanes take turns: nobody waits behind thousands of jobs of somebody else.

A lane is whose a job is: a key, or a batch. RQ's lists are first in, first out, so a new job is moved forward
in its list, to where it would stand if lanes had sent their jobs in turn. Jobs that run count as a turn.
"""

from redis import Redis

from ..jobs import Priority
from .records import PREFIX
from .rq_lists import QUEUES, rq_id

LOOKED_AT = 100
"""Jobs at the head of a list among which a new one is placed; behind them it is first in, first out."""

SETTLE = """
local list, name, limit = KEYS[1], ARGV[1], tonumber(ARGV[2])
if redis.call('LLEN', list) < 2 then return 0 end
local function lane_of(entry)
  return redis.call('HGET', 'darefine:job:' .. string.match(entry, '^[^-]*'), 'lane') or ''
end
local function place_of(entry)
  return entry and tonumber(redis.call('ZSCORE', KEYS[2], string.match(entry, '^[^-]*')) or nil)
end
local own = lane_of(name)
local before = {}
for _, id in ipairs(redis.call('ZRANGE', 'darefine:jobs:running', 0, limit - 1)) do
  local lane = lane_of(id)
  before[lane] = (before[lane] or 0) + 1
end
local head = redis.call('LRANGE', list, 0, limit - 1)
local lanes, mine = {}, (before[own] or 0) + 1
for index, entry in ipairs(head) do
  if entry == name then break end
  lanes[index] = lane_of(entry)
  if lanes[index] == own then mine = mine + 1 end
end
for index, lane in ipairs(lanes) do
  before[lane] = (before[lane] or 0) + 1
  if before[lane] > mine then
    if redis.call('LREM', list, -1, name) == 0 then return 0 end
    redis.call('LINSERT', list, 'BEFORE', head[index], name)
    local place = place_of(head[index])
    if place then
      local between = ((place_of(head[index - 1]) or place - 2) + place) / 2
      redis.call('ZADD', KEYS[2], 'XX', between, string.match(name, '^[^-]*'))
    end
    return index
  end
end
return 0
"""
"""Move the last entry of a list forward.

(list, the order of jobs kept beside it; name of the entry, how many to look at)
-> its place, counted from 1; 0 if it stays.
"""


class FairShare:
    """Places new jobs in RQ's lists so that lanes take turns."""

    def __init__(self, redis: Redis) -> None:
        self._settle = redis.register_script(SETTLE)

    def settle(self, job_id: str, attempt: int, priority: Priority) -> None:
        """Move an attempt that was just put at the end of its list to where its lane's turn is."""
        keys = [f"rq:queue:{QUEUES[priority]}", f"{PREFIX}order:{priority}"]
        self._settle(keys=keys, args=[rq_id(job_id, attempt), LOOKED_AT])
