-- Byte order, whatever the server's locale.
local function before(a, b)
  if a.created ~= b.created then return a.created < b.created end
  for i = 1, 16 do
    local x, y = byte(a.id, i), byte(b.id, i)
    if x ~= y then return x < y end
  end
  return false
end

-- Reads all records of the subject: the live families, oldest first, and the
-- tombstones; drops what has expired.
local function survey(key, now, retention)
  local all = call('HGETALL', key)
  local field, live, dead = {}, {}, {}
  for i = 1, #all, 2 do field[all[i]] = all[i + 1] end
  for name, value in pairs(field) do
    if #name == 16 then
      local cold = field[name .. 'c']
      if is_tombstone(value) and now < num6(value, 2) + retention then
        dead[#dead + 1] = { id = name, attempt = sub(value, 8, 13), reason = sub(value, 14) }
      elseif is_family(value, cold) and now < expires_at(value, cold) then
        live[#live + 1] = { id = name, created = num6(cold, 2) }
      elseif is_tombstone(value) or is_family(value, cold) then
        call('HDEL', key, name, name .. 'c', name .. 'd', name .. 'a')
      end
    end
  end
  table.sort(live, before)
  return live, dead
end
