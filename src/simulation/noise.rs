//! Numbers that look random and are the same for the same seed.

use std::f64::consts::TAU;

/// A generator (`SplitMix64`): small, and good enough for arrivals.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    drawn: u64,
}

impl Noise {
    /// A generator that always draws the same numbers for the same seed.
    pub fn new(seed: u64) -> Self {
        Self { drawn: scramble(seed) }
    }

    /// Uniform in (0, 1].
    pub fn uniform(&mut self) -> f64 {
        self.drawn = self.drawn.wrapping_add(1);
        let bits = u32::try_from(scramble(self.drawn) >> 32).unwrap_or(u32::MAX);
        (f64::from(bits) + 1.0) / (f64::from(u32::MAX) + 1.0)
    }

    /// How many requests arrive where `mean` are expected: Poisson, by its normal approximation and so not whole,
    /// which is what a fluid model needs.
    pub fn arrivals(&mut self, mean: f64) -> f64 {
        (mean + mean.sqrt() * self.normal()).max(0.0)
    }

    /// Normal, with mean 0 and standard deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (TAU * self.uniform()).cos()
    }
}

/// Spreads the bits of a counter (`SplitMix64`'s step and finalizer), so that neighbours look unrelated.
pub fn scramble(counter: u64) -> u64 {
    let mut z = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_have_the_mean_and_the_variance_of_poisson() {
        let mut noise = Noise::new(7);
        let drawn: Vec<f64> = (0..20_000).map(|_| noise.arrivals(400.0)).collect();
        let mean = drawn.iter().sum::<f64>() / 20_000.0;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!((mean - 400.0).abs() < 1.0, "{mean}");
        assert!((variance - 400.0).abs() < 15.0, "{variance}");
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let draw = |seed| Noise::new(seed).arrivals(100.0).to_bits();
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }
}
