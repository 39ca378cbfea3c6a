//! Colors: sRGB bytes, linear light and OKLab.
//!
//! OKLab: <https://bottosson.github.io/posts/oklab/>. Light scaled by a factor scales all three OKLab values by its cube
//! root, so a shadow is the same color scaled.

use std::sync::LazyLock;

/// Linear light of each sRGB byte.
static LINEAR: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| {
        let value = byte as f32 / 255.0;
        if value <= 0.040_45 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    })
});

/// Steps of [`SRGB`]. Fine enough that each byte's own light is rounded to that byte.
const STEPS: usize = 8192;

/// The sRGB byte of linear light in [`STEPS`] steps.
static SRGB: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let encode = |step: usize| {
        let value = step as f32 / STEPS as f32;
        let encoded = if value <= 0.003_130_8 {
            value * 12.92
        } else {
            1.055 * value.powf(1.0 / 2.4) - 0.055
        };
        (encoded * 255.0).round() as u8
    };
    (0..=STEPS).map(encode).collect()
});

/// Red, green and blue in linear light; 1 is white.
pub(crate) type Light = [f32; 3];

/// A color in OKLab.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Lab {
    pub l: f32,
    pub a: f32,
    pub b: f32,
}

impl Lab {
    /// Converts from linear light.
    pub fn of([r, g, b]: Light) -> Lab {
        let long = (0.412_221_46 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
        let medium = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
        let short = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
        Lab {
            l: 0.210_454_26 * long + 0.793_617_8 * medium - 0.004_072_047 * short,
            a: 1.977_998_5 * long - 2.428_592_2 * medium + 0.450_593_7 * short,
            b: 0.025_904_037 * long + 0.782_771_77 * medium - 0.808_675_77 * short,
        }
    }

    /// Converts to linear light. Colors outside of sRGB have values below 0 or above 1.
    pub fn light(self) -> Light {
        let long = (self.l + 0.396_337_78 * self.a + 0.215_803_76 * self.b).powi(3);
        let medium = (self.l - 0.105_561_346 * self.a - 0.063_854_17 * self.b).powi(3);
        let short = (self.l - 0.089_484_18 * self.a - 1.291_485_5 * self.b).powi(3);
        [
            4.076_741_7 * long - 3.307_711_6 * medium + 0.230_969_94 * short,
            -1.268_438 * long + 2.609_757_4 * medium - 0.341_319_4 * short,
            -0.004_196_086_3 * long - 0.703_418_6 * medium + 1.707_614_7 * short,
        ]
    }

    pub fn chroma(self) -> f32 {
        self.a.hypot(self.b)
    }

    /// The same color in other light.
    pub fn scaled(self, factor: f32) -> Lab {
        self.map(|value| value * factor)
    }

    pub fn plus(self, other: Lab) -> Lab {
        Lab {
            l: self.l + other.l,
            a: self.a + other.a,
            b: self.b + other.b,
        }
    }

    pub fn minus(self, other: Lab) -> Lab {
        self.plus(other.scaled(-1.0))
    }

    /// The color on the way to `other`, at 0 this one, at 1 the other.
    pub fn toward(self, other: Lab, share: f32) -> Lab {
        self.plus(other.minus(self).scaled(share))
    }

    /// Euclidean distance, in which lightness counts by `weight`.
    pub fn distance(self, other: Lab, weight: f32) -> f32 {
        let apart = self.minus(other);
        (apart.l * weight).hypot(apart.chroma())
    }

    fn map(self, change: impl Fn(f32) -> f32) -> Lab {
        Lab {
            l: change(self.l),
            a: change(self.a),
            b: change(self.b),
        }
    }
}

/// Linear light of an sRGB pixel.
pub(crate) fn light([r, g, b]: [u8; 3]) -> Light {
    let table = &*LINEAR;
    [
        table[usize::from(r)],
        table[usize::from(g)],
        table[usize::from(b)],
    ]
}

/// The table behind [`light`], for loops over whole photographs.
pub(crate) fn linear_table() -> &'static [f32; 256] {
    &LINEAR
}

/// The sRGB pixel of linear light, which is clamped.
pub(crate) fn srgb(light: Light) -> [u8; 3] {
    let table = &*SRGB;
    light.map(|value| table[(value.clamp(0.0, 1.0) * STEPS as f32).round() as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_way_to_linear_light_and_back() {
        for byte in 0..=255 {
            assert_eq!(srgb(light([byte; 3])), [byte; 3]);
        }
    }

    #[test]
    fn oklab_is_what_its_author_says() {
        let red = Lab::of([1.0, 0.0, 0.0]);
        for (value, expected) in [(red.l, 0.628), (red.a, 0.225), (red.b, 0.126)] {
            assert!((value - expected).abs() < 0.001, "{red:?}");
        }
        let back = red.light();
        assert!(
            (back[0] - 1.0).abs() < 0.001 && back[1].abs() < 0.001,
            "{back:?}"
        );
    }

    #[test]
    fn a_shadow_is_the_same_color_scaled() {
        let lit = Lab::of([0.2, 0.4, 0.8]);
        let shaded = Lab::of([0.025, 0.05, 0.1]);
        assert!(lit.scaled(0.5).distance(shaded, 1.0) < 0.001);
    }
}
