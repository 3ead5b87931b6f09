# find_package(@NAME@ CONFIG PATHS folder) gives @NAME@::@NAME@ (shared), @NAME@::static, and
# @NAME@_WEIGHTS, the file of weights (empty if they lie inside the library).
get_filename_component(_folder "${CMAKE_CURRENT_LIST_FILE}" PATH)
set(@NAME@_WEIGHTS "@WEIGHTS_IN_CONFIG@")
if(NOT TARGET @NAME@::@NAME@)
  find_package(Threads REQUIRED)
  add_library(@NAME@::@NAME@ SHARED IMPORTED)
  set_target_properties(@NAME@::@NAME@ PROPERTIES
    IMPORTED_LOCATION "${_folder}/lib@NAME@.so"
    IMPORTED_SONAME "lib@NAME@.so"
    INTERFACE_INCLUDE_DIRECTORIES "${_folder}")
  add_library(@NAME@::static STATIC IMPORTED)
  set_target_properties(@NAME@::static PROPERTIES
    IMPORTED_LOCATION "${_folder}/lib@NAME@.a"
    INTERFACE_LINK_LIBRARIES Threads::Threads
    INTERFACE_INCLUDE_DIRECTORIES "${_folder}")
endif()
