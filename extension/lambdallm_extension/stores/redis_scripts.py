"""What Redis does for us in one step: Lua, which it runs with nothing in between.

    {prefix}:{PARTITION}:i:SORT KEY    hash: attribute name → its value as canonical JSON;
                                       under "" the item's expiry, epoch seconds or ""
    {prefix}:{PARTITION}:x             sorted set of the sort keys, all with the score 0: by bytes
    {prefix}:{PARTITION}:t:TOKEN       what a write under this token did

The braces are the keys' own: a partition's keys share a slot of a cluster. JSON is canonical
(sorted, without blanks), so that two values are the same if their texts are. Numbers stay decimal
texts and are added by digits: Lua's own are doubles, which end at 2^53.

Every script begins with a write that changes nothing: no attribute is called `pk`, no sort key is
empty. A replica refuses that, so that a primary that was demoted answers no read with what it still
remembers; a server that is full refuses `SETRANGE`, before anything else was written, and deletions
do without it. Of a write all keys are declared, so that a cluster that is moving them refuses it
as a whole; a query finds its items' keys in the index, and is refused on the way, without harm.
"""

from __future__ import annotations

from hashlib import sha1

from lambda_runtime_api.declarations import NamedTuple


class Script(NamedTuple):
    """A script and the name under which a server that has seen it knows it."""

    name: str
    text: str
    digest: str


def _script(name: str, text: str) -> Script:
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


DONE, FAILED, OTHER_TOKEN = b"done", b"failed", b"token"
NO_NUMBER, TOO_LONG, TOO_LARGE = b"no_number", b"too_long", b"too_large"
"""What the reply to `WRITE` begins with; behind the last three stand the action's number and, of
the first two, the attribute."""

GET = _script(
    "get",
    """
redis.call('HDEL', KEYS[1], 'pk')
return redis.call('HGETALL', KEYS[1])
""",
)
"""KEYS: item. Returns its fields, one after the other; none: there is no item."""

QUERY = _script(
    "query",
    """
redis.call('ZREM', KEYS[1], '')
local from, to, order, items, most, bytes_max = unpack(ARGV)
most, bytes_max = tonumber(most), tonumber(bytes_max)
local found
if order == 'down' then
  found = redis.call('ZREVRANGEBYLEX', KEYS[1], to, from, 'LIMIT', 0, most)
else
  found = redis.call('ZRANGEBYLEX', KEYS[1], from, to, 'LIMIT', 0, most)
end
local reply, bytes, last = {''}, 0, ''
for _, sk in ipairs(found) do
  local fields = redis.call('HGETALL', items .. sk)
  if #fields == 0 then
    redis.call('ZREM', KEYS[1], sk)
  else
    reply[#reply + 1] = sk
    reply[#reply + 1] = fields
    for _, text in ipairs(fields) do bytes = bytes + #text end
  end
  last = sk
  if bytes >= bytes_max then break end
end
if bytes >= bytes_max or #found == most then reply[1] = last end
return reply
""",
)
"""KEYS: index. ARGV: bounds, `up` or `down`, what items' keys begin with, how many at most,
bytes after which to stop. Returns the sort key to go on behind ("": that was all), then sort keys
and fields in turn. What has expired leaves the index."""

_NUMBERS = """
local function is_integer(text) return string.find(text, '^%-?%d+$') ~= nil end

local function parts(text)
  if string.sub(text, 1, 1) == '-' then return true, string.sub(text, 2) end
  return false, text
end

local function larger(a, b)  -- of digits alone
  if #a ~= #b then return #a > #b end
  return a > b
end

local function at_most(value, limit)
  local below, a = parts(value)
  local limit_below, b = parts(limit)
  if below ~= limit_below then return below end
  if below then return not larger(b, a) end
  return not larger(a, b)
end

local function combine(a, b, sign)  -- seven digits at once, which doubles hold exactly
  local digits, carry = '', 0
  while #a > 0 or #b > 0 or carry ~= 0 do
    local one, other = tonumber(string.sub(a, -7)) or 0, tonumber(string.sub(b, -7)) or 0
    local sum = one + sign * other + carry
    carry = math.floor(sum / 10000000)
    digits = string.format('%07d', sum - carry * 10000000) .. digits
    a, b = string.sub(a, 1, -8), string.sub(b, 1, -8)
  end
  digits = string.gsub(digits, '^0+', '')
  return digits
end

local function add(one, other)
  local below, a = parts(one)
  local other_below, b = parts(other)
  local digits
  if below == other_below then
    digits = combine(a, b, 1)
  else
    if larger(b, a) then a, b, below = b, a, other_below end
    digits = combine(a, b, -1)
  end
  if digits == '' then return '0' end
  return (below and '-' or '') .. digits
end
"""

WRITE = _script(
    "write",
    _NUMBERS
    + """
local token = KEYS[#KEYS]
local fingerprint, remembered_ms, bytes_max, way = unpack(ARGV, 1, 4)
if way == 'free' then
  redis.call('HDEL', KEYS[1], 'pk')
else
  redis.call('SETRANGE', token, 0, '')
end
local before = redis.call('GET', token)
if before then
  local length = #fingerprint
  if string.sub(before, 1, length) ~= fingerprint then return {'token'} end
  if #before == length then return {'done', {}} end
  return {'done', cjson.decode(string.sub(before, length + 1))}
end

local at = 4
local function take() at = at + 1 return ARGV[at] end
local function pairs_of()
  local found = {}
  for number = 1, tonumber(take()) do found[number] = {take(), take()} end
  return found
end

local plans, failed = {}, {'failed'}
for number = 1, (#KEYS - 1) / 2 do
  local key, index = KEYS[2 * number - 1], KEYS[2 * number]
  local kind, sk, absent = take(), take(), take()
  local exists = redis.call('EXISTS', key) == 1
  redis.call('ZCARD', index)  -- one of another type is an error before anything is written
  local holds = absent == '' or (absent == 'yes') == (not exists)
  for _, pair in ipairs(pairs_of()) do
    if redis.call('HGET', key, pair[1]) ~= pair[2] then holds = false end
  end
  for _, pair in ipairs(pairs_of()) do
    local value = redis.call('HGET', key, pair[1]) or '0'
    if not (is_integer(value) and at_most(value, pair[2])) then holds = false end
  end
  local plan = {kind = kind, key = key, index = index, sk = sk, exists = exists}
  if kind == 'put' or kind == 'add' then
    plan.expires, plan.gone, plan.adds, plan.sets = take(), take(), pairs_of(), pairs_of()
  end
  plans[number] = plan
  if not holds then
    failed[#failed + 1] = number
    failed[#failed + 1] = redis.call('HGETALL', key)
  end
end
if #failed > 1 then return failed end

for number, plan in ipairs(plans) do
  if plan.kind == 'add' then
    for _, pair in ipairs(plan.adds) do
      local value = redis.call('HGET', plan.key, pair[1]) or '0'
      if not is_integer(value) then return {'no_number', number, pair[1]} end
      local sum = add(value, pair[2])
      if #sum > 38 and not (#sum == 39 and string.sub(sum, 1, 1) == '-') then
        return {'too_long', number, pair[1]}
      end
      plan.sets[#plan.sets + 1] = {pair[1], sum}
    end
    local bytes, changed = 0, {}
    for _, pair in ipairs(plan.sets) do
      bytes, changed[pair[1]] = bytes + #pair[1] + #pair[2], true
    end
    for _, name in ipairs(redis.call('HKEYS', plan.key)) do
      if not changed[name] then
        bytes = bytes + #name + redis.call('HSTRLEN', plan.key, name)
      end
    end
    if bytes > tonumber(bytes_max) then return {'too_large', number} end
  end
end

if redis.acl_check_cmd then  -- of Redis 7: a command that is refused half way leaves the half
  local key, index = KEYS[1], KEYS[2]
  local writes = {
    {'DEL', key}, {'HGETALL', key}, {'HSET', key, 'a', 'b'}, {'EXPIREAT', key, '1'}, {'PTTL', key},
    {'PERSIST', index}, {'ZADD', index, '0', 'a'}, {'ZREM', index, 'a'},
    {'SET', token, 'a', 'PX', '1'},
  }
  for _, command in ipairs(writes) do
    if not redis.acl_check_cmd(unpack(command)) then
      return redis.error_reply('NOPERM this user may not run ' .. command[1])
    end
  end
end

local function keep_index(index, key, gone)  -- as long as the item, whose expiry stands already
  local left_ms = redis.call('PTTL', index)
  if gone == '' then
    if left_ms >= 0 then redis.call('PERSIST', index) end
  elseif redis.call('ZCARD', index) == 1 then
    redis.call('EXPIREAT', index, gone)
  elseif left_ms >= 0 and left_ms < redis.call('PTTL', key) then
    redis.call('EXPIREAT', index, gone)
  end
end

local result = {}
for _, plan in ipairs(plans) do
  if plan.kind == 'delete' then
    redis.call('DEL', plan.key)
    redis.call('ZREM', plan.index, plan.sk)
  elseif plan.kind ~= 'check' then
    local key = plan.key
    if plan.kind == 'put' then redis.call('DEL', key) end
    local whole = plan.kind == 'put' or not plan.exists
    if whole or plan.expires ~= '' then redis.call('HSET', key, '', plan.expires) end
    for _, pair in ipairs(plan.sets) do redis.call('HSET', key, pair[1], pair[2]) end
    if way == 'answer' then result = redis.call('HGETALL', key) end
    redis.call('ZADD', plan.index, 0, plan.sk)
    if plan.gone ~= '' then redis.call('EXPIREAT', key, plan.gone) end
    if whole or plan.expires ~= '' then keep_index(plan.index, key, plan.gone) end
  end
end
local kept = fingerprint
if #result > 0 then kept = kept .. cjson.encode(result) end
redis.call('SET', token, kept, 'PX', remembered_ms)
return {'done', result}
""",
)
"""KEYS: item and index of each action, then the token. ARGV: a fingerprint of all of it, how long
to remember, the largest item's bytes, `answer` (the changed item), `free` (room is made, even where
there is none) or ""; then of each action its kind, sort key, `absent` (`yes`, `no` or ""), and as
counted pairs `equals` and `at_most`; of `put` and `add` expiry, when Redis deletes it, and as
counted pairs additions and assignments."""
