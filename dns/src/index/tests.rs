mod fixture;
mod property;
mod rows;
