//! A profile of four inks for tests, made in code; those of the crate's outside (`tests/memory.rs`) take this file, too. Knows nothing of the crate.

use moxcms::{ColorProfile, DataColorSpace, LutDataType, LutStore, LutType, LutWarehouse, Matrix3d, ProfileClass, WHITE_POINT_D50};

/// Its only table, of so many steps an ink, makes Lab of them: lightness falls by a third of black's with each colour, and yellow is as yellow as
/// Lab can say.
pub(crate) fn profile_of_inks(steps: u8) -> ColorProfile {
    let (grid, last) = (u32::from(steps), f32::from(steps - 1));
    let table = (0..grid.pow(4)).flat_map(|at| {
        // The last ink runs fastest.
        let [c, m, y, k] = [3, 2, 1, 0].map(|ink| (at / grid.pow(ink) % grid) as f32 / last);
        let lightness = 1.0 - (0.3 * (c + m + y) + 0.9 * k).min(1.0);
        let yellow = 26_000.0 * y * (1.0 - k);
        // ICC.1:2022, 10.10: 0xff00 is 100 of lightness, 0x8000 no colour.
        [(lightness * 65_280.0) as u16, 0x8000, 0x8000 + yellow as u16]
    });
    let lut = LutDataType {
        num_input_channels: 4,
        num_output_channels: 3,
        num_clut_grid_points: steps,
        matrix: Matrix3d::IDENTITY,
        num_input_table_entries: 2,
        num_output_table_entries: 2,
        input_table: LutStore::Store16([0, u16::MAX].repeat(4)),
        clut_table: LutStore::Store16(table.collect()),
        output_table: LutStore::Store16([0, u16::MAX].repeat(3)),
        lut_type: LutType::Lut16,
    };
    let mut profile = ColorProfile::default();
    profile.pcs = DataColorSpace::Lab;
    profile.color_space = DataColorSpace::Cmyk;
    profile.profile_class = ProfileClass::OutputDevice;
    profile.white_point = WHITE_POINT_D50.to_xyzd();
    profile.lut_a_to_b_perceptual = Some(LutWarehouse::Lut(lut));
    profile
}
