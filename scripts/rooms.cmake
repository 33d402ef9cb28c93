# The house's plan, from the build's own targets, for scripts/check-structure and scripts/house. It is
# written to rooms.txt in the build directory when CMake configures. A line is one of
#
#   target NAME KIND      STATIC_LIBRARY, EXECUTABLE, ...
#   folder NAME PATH      of its CMakeLists.txt
#   purpose NAME TEXT     what room() was told
#   source NAME PATH
#   link NAME OTHER       may include OTHER's headers
#   public NAME OTHER     passes OTHER on to whoever links NAME

# room(TARGET TEXT): what the library is for, in a few words; they stand in the picture.
function(room target text)
  set_property(TARGET ${target} PROPERTY DOMPOOL_PURPOSE "${text}")
endfunction()

function(rooms_line line)
  set_property(GLOBAL APPEND_STRING PROPERTY DOMPOOL_ROOMS "${line}\n")
endfunction()

function(rooms_links word target property)
  get_target_property(others ${target} ${property})
  foreach(other IN LISTS others)
    if(TARGET ${other} AND NOT other MATCHES "::") # those with :: are other people's
      rooms_line("${word} ${target} ${other}")
    endif()
  endforeach()
endfunction()

function(rooms_target target)
  get_target_property(kind ${target} TYPE)
  if(NOT kind MATCHES "LIBRARY|EXECUTABLE")
    return()
  endif()
  rooms_line("target ${target} ${kind}")
  get_target_property(folder ${target} SOURCE_DIR)
  rooms_line("folder ${target} ${folder}")
  get_target_property(purpose ${target} DOMPOOL_PURPOSE)
  if(purpose)
    rooms_line("purpose ${target} ${purpose}")
  endif()
  get_target_property(sources ${target} SOURCES)
  foreach(source IN LISTS sources)
    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY ${folder} NORMALIZE)
    rooms_line("source ${target} ${source}")
  endforeach()
  rooms_links(link ${target} LINK_LIBRARIES)
  rooms_links(public ${target} INTERFACE_LINK_LIBRARIES)
endfunction()

function(rooms_folder folder)
  get_property(targets DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS targets)
    rooms_target(${target})
  endforeach()
  get_property(folders DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(below IN LISTS folders)
    rooms_folder(${below})
  endforeach()
endfunction()

# When every folder has been read.
function(rooms_write)
  rooms_folder(${PROJECT_SOURCE_DIR})
  get_property(lines GLOBAL PROPERTY DOMPOOL_ROOMS)
  file(WRITE ${PROJECT_BINARY_DIR}/rooms.txt "${lines}")
endfunction()
cmake_language(DEFER DIRECTORY ${PROJECT_SOURCE_DIR} CALL rooms_write)
