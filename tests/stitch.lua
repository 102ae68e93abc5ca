-- Edits files as a hasty person would: lua5.4 tests/stitch.lua SEED FILE … changes, adds, removes or moves lines of some
-- six of them, however many there are.
math.randomseed(tonumber(arg[1]))

local function edit(lines)
  local at = math.random(2, #lines)
  local space, kind = lines[at]:match("^[ \t]*"), math.random(5)
  if kind == 1 then lines[at] = lines[at] .. " changed"
  elseif kind == 2 then table.insert(lines, at, space .. "added " .. math.random(1000))
  elseif kind == 3 then table.remove(lines, at)
  elseif kind == 4 then
    table.insert(lines, at, space .. "two")
    table.insert(lines, at, space .. "  more")
  else
    for i = at, math.min(#lines, at + math.random(0, 30)) do
      if lines[i] ~= "" then lines[i] = "    " .. lines[i] end
    end
  end
end

for i = 2, #arg do
  local lines = {}
  for line in io.lines(arg[i]) do table.insert(lines, line) end
  if math.random() < 6 / (#arg - 1) then
    for _ = 1, math.random(2) do edit(lines) end
    local file = assert(io.open(arg[i], "w"))
    file:write(table.concat(lines, "\n"), "\n")
    file:close()
  end
end
