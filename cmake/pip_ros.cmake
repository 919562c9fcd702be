# For ROS 2 from pip wheels; given as -DCMAKE_PROJECT_INCLUDE=cmake/pip_ros.cmake.
#
# 1. Imported targets of the wheels name include folders of the machine they were built on
#    (/opt/python/cpXY, its numpy): those that do not exist here are dropped.
# 2. A venv inside the checkout puts numpy's headers below the source folder, which CMake forbids
#    in exported targets: such folders are kept for the build only.
# 3. Most of the time goes into the headers of Fast DDS, which each generated C++ file includes: the
#    files of a target are compiled as one.
function(_moro_mend_targets)
  get_property(_imported DIRECTORY PROPERTY IMPORTED_TARGETS)
  get_property(_own DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
  foreach(_target IN LISTS _imported _own)
    if(_target IN_LIST _own AND _target MATCHES "__rosidl_typesupport_(fastrtps_c|fastrtps_cpp|cpp)$")
      set_target_properties(${_target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
    endif()
    get_target_property(_folders ${_target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT _folders)
      continue()
    endif()
    set(_kept)
    foreach(_folder IN LISTS _folders)
      string(FIND "${_folder}" "${CMAKE_SOURCE_DIR}/" _position)
      if(_target IN_LIST _own AND _position EQUAL 0)
        list(APPEND _kept "$<BUILD_INTERFACE:${_folder}>")
      elseif(_folder MATCHES "^\\$<" OR EXISTS "${_folder}")
        list(APPEND _kept "${_folder}")
      endif()
    endforeach()
    if(NOT _kept STREQUAL _folders)
      set_target_properties(${_target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${_kept}")
    endif()
  endforeach()
endfunction()
cmake_language(DEFER CALL _moro_mend_targets)
