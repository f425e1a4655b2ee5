//! WASI guests: what they may, what ends them, what they leave. Every refusal has a control that
//! shows that the same guest gets through where the cap or the fence is not in the way.
//!
//! | what is tried | test | its control |
//! | --- | --- | --- |
//! | infinite loop | `caps::an_endless_loop_runs_out_of_fuel`, `…_with_fuel_runs_out_of_time`, `an_endless_start_function_ends_too` | a loop that ends |
//! | loop inside a host call: sleep | `caps::a_guest_that_sleeps_ends_on_time` | sleeps for no time |
//! | … poll | `caps::a_guest_that_polls_on_and_on_ends_on_time` | polls ten times |
//! | … stdin | `caps::a_guest_that_reads_its_input_on_and_on_ends_on_time` | reads to the end of it |
//! | … calls that never wait | `caps::a_guest_that_only_calls_the_host_ends_on_time`, `around::a_component_that_only_calls_the_host_ends_on_time` | one call |
//! | `memory.grow` to the end | `caps::memory_ends_at_its_cap`, `a_guest_that_only_asks_for_memory_is_ended` | the same under a larger cap |
//! | deep recursion | `caps::deep_recursion_is_a_trap` | a thousand calls deep |
//! | 1 GiB table | `caps::a_table_of_a_gibibyte_is_refused` | ten thousand elements |
//! | 100 000 instances of handles | `caps::opening_files_without_end_is_a_trap_for_the_guest_alone` | a hundred |
//! | output flood, both streams | `caps::a_flood_on_either_stream_ends_at_the_cap` | a thousand lines |
//! | many, large files | `caps::files_end_at_their_number`, `files_end_at_their_bytes` | fewer, smaller |
//! | `..`, absolute paths | `files::dots_and_absolute_paths_lead_nowhere` | a path that goes up and stays inside |
//! | symlinks, the guest's own too | `files::links_that_lead_out_are_not_followed` | a link that stays inside |
//! | another run's directory | `files::another_run_s_directory_is_out_of_reach` | the host finds it by that path |
//! | write to a read-only grant | `files::a_read_only_grant_is_not_written_to` | the same with a grant to write |
//! | rename out of a grant | `files::nothing_is_renamed_out_of_a_grant` | a rename within it |
//! | HTTP to a host not listed | `hosts::a_host_that_is_not_listed_is_not_reached` | `hosts::a_listed_host_is_reached_and_counted` |
//! | a listed name that means loopback | `hosts::a_listed_name_that_means_this_machine_is_refused` | the address itself is listed |
//! | a redirect target | `hosts::a_redirect_is_only_told` | the target is listed, too |
//! | header secret, echoed | `hosts::a_bound_secret_is_used_masked_and_never_held` | no grant, no header |
//! | socket calls | `sockets::no_socket_is_ever_made`, `caps::sockets_are_refused` | the same component in an engine that lets it |
//! | 50 000 functions | `code::fifty_thousand_functions_compile_within_the_bound` | it is compiled; five times as many are refused |
//! | one function of 2 MB | `code::a_function_of_two_megabytes_is_refused` | a hundredth of it |
//! | truncated, random file | `code::what_is_no_guest_is_refused_with_the_reason` | the whole file |
//! | tampered compiled code | `code::compiled_code_is_used_again_and_tampered_code_is_not` | untouched, it is used again |
//! | counts and lengths of 2³² | `around::numbers_that_nobody_means_are_errors` | the same call with what is meant |
//! | files of 2⁴⁰ bytes, hollow files | `around::a_file_is_not_longer_than_what_may_be_written`, `hollow_files_leave_no_more_than_the_cap` | smaller ones |
//! | hard links out of a read-only grant | `around::a_hard_link_carries_no_right_over`, `a_hard_link_in_a_copy_leaves_the_original_alone` | a link within what is its own |
//! | directories deeper than any path | `around::directories_that_are_too_deep_are_left_out` | five deep |
//! | a sleep or a loop that is asked to end | `caps::a_guest_that_sleeps_hears_a_request_to_end`, `a_guest_that_only_calls_the_host_hears_a_request_to_end`, `a_request_to_end_that_comes_with_the_first_word_is_heard` | the same ends by its caps |
//! | calls that cost only the host | `around::a_directory_is_not_listed_beyond_the_guest_s_time`, `a_component_that_wants_gigabytes_of_a_call_traps` | one call |
//! | thousands of instances in a component | `around::thousands_of_instances_are_refused` | five |
//! | endless tail calls | `around::calls_in_place_of_returns_cost_fuel` | a million |
//! | 64-bit or shared memory, exceptions | `around::proposals_that_are_off_are_refused_with_the_reason` | every other guest |
//! | small code that costs a compiler much | `around::code_that_is_small_and_costs_a_compiler_much_ends_with_a_verdict` | less of it |
//! | terminal escapes, HTML | `life::what_a_guest_prints_is_in_the_log_as_it_was_printed`; `it`: `cli::guest::what_a_guest_prints_commands_no_terminal`, `gallery::what_people_and_programs_wrote_is_never_markup` | the log holds it as it was |

mod around;
mod caps;
mod code;
mod fetch;
mod files;
mod hosts;
mod life;
mod rig;
mod sockets;
mod wat;

pub use rig::ARGUMENT;

pub const TESTS: &[&[crate::Test]] =
    &[life::TESTS, caps::TESTS, around::TESTS, files::TESTS, code::TESTS, hosts::TESTS, sockets::TESTS];
