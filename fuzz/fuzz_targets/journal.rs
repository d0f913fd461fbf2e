#![no_main]

// The database may panic over a file that was altered, which the journal contains; the fuzzer would end by its hook.
libfuzzer_sys::fuzz_target!(init: drop(std::panic::take_hook()), |input: &[u8]| setpoint_fuzz::journal::check(input));
